"""The findings of an examination of data, and what the checks look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from triptych.data.checks.inspection import Inspection
from triptych.data.datasets import Dataset
from triptych.data.duplicates import Group, spans
from triptych.data.folders import Parts
from triptych.images.sources import FileImages

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class ImageName:
    """The name, class and part of an image, so that it can be found.

    Attributes:
        name: the file relative to the data's folder, or "image" and its index.
        label: its class.
        part: "train", "validation" or "test"; empty if the data cannot be split.
    """

    name: str
    label: str
    part: str


@dataclass(frozen=True)
class Example:
    """One instance of a finding.

    Attributes:
        images: the images concerned; empty if a class is concerned.
        detail: more about it, such as a size or a reason.
    """

    images: tuple[ImageName, ...]
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """A problem of the data, or a property worth knowing before training.

    Attributes:
        kind: identifier of the kind of finding, for programs.
        severity: "error" prevents training, "warning" may distort the results, "note" is for information.
        message: what was found, and what to do about it.
        examples: every instance.
    """

    kind: str
    severity: Severity
    message: str
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Examination:
    """All findings on a data set.

    Attributes:
        data: name of the data set.
        images: number of images, readable or not.
        classes: for each class, the number of images in each part; the only part is "" if the data cannot be split.
        findings: the most severe first.
    """

    data: str
    images: int
    classes: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]

    @property
    def can_train(self) -> bool:
        """Whether there is no error, so that training is possible."""
        return not self.of("error")

    def of(self, severity: Severity) -> list[Finding]:
        """Return the findings with this severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"can_train": self.can_train, **asdict(self)}


@dataclass(frozen=True)
class Subject:
    """The data that the checks look at.

    Attributes:
        dataset: the labelled images.
        empty: class directories without images.
        inspections: the properties of every image, in the same order.
        parts: (n,) of "train", "validation" or "test"; None if the data has no parts and cannot be split.
        split_problem: why the data cannot be split with the default seed; empty if it can.
        split_seed: the seed of `parts`, another one if that solves the problem.
        equal: groups of images with the same pixels.
        similar: groups of images that look alike, not all of them equal.
    """

    dataset: Dataset
    empty: tuple[Path, ...]
    inspections: list[Inspection]
    parts: Parts | None
    split_problem: str
    split_seed: int
    equal: list[Group]
    similar: list[Group]

    def name_image(self, index: int) -> ImageName:
        """Return the name, class and part of an image."""
        images, root = self.dataset.images, self.dataset.root
        name = f"image {index}"
        if isinstance(images, FileImages) and root is not None:
            name = images.files[index].relative_to(root).as_posix()
        part = "" if self.parts is None else str(self.parts[index])
        return ImageName(name, self.dataset.classes[int(self.dataset.labels[index])], part)

    def name_groups(self, groups: Iterable[Group]) -> tuple[Example, ...]:
        """Return groups of images as examples."""
        return tuple(Example(tuple(self.name_image(index) for index in group)) for group in groups)

    @property
    def within(self) -> str:
        """Where the images of a group are that does not cross parts, for messages."""
        return "in the data, which is not split yet" if self.parts is None else "within one part"

    def crosses(self, group: Group) -> bool:
        """Return whether a group has images in more than one part."""
        return self.parts is not None and spans(group, self.parts)

    def count_classes(self, part: str | None = None) -> NDArray[np.int64]:
        """Return the number of images of each class, (classes,) int64, in one part or in all parts."""
        labels = self.dataset.labels
        if part is not None and self.parts is not None:
            labels = labels[self.parts == part]
        return np.bincount(labels, minlength=len(self.dataset.classes))
