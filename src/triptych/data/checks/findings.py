"""What an examination of data is about, and what it finds."""

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
    """An image as a person finds it again.

    Attributes:
        name: the file relative to the data's folder, or the number of the image.
        label: its class.
        part: "train", "validation" or "test"; empty where the data cannot be split.
    """

    name: str
    label: str
    part: str


@dataclass(frozen=True)
class Example:
    """One case of a finding.

    Attributes:
        images: the images it is about; none where it is about a class.
        detail: what else there is to say.
    """

    images: tuple[ImageName, ...]
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """Something to know before training.

    Attributes:
        kind: its name for programs.
        severity: "error" prevents training, "warning" spoils the result, "note" is good to know.
        message: what was found, and what to do.
        examples: every case.
    """

    kind: str
    severity: Severity
    message: str
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Examination:
    """All that was found.

    Attributes:
        data: name of the data set.
        images: number of images, readable or not.
        classes: for each class the number of images of each part; part "" where the data cannot be split.
        findings: worst first.
    """

    data: str
    images: int
    classes: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]

    @property
    def can_train(self) -> bool:
        """Whether nothing prevents training."""
        return not self.of("error")

    def of(self, severity: Severity) -> list[Finding]:
        """Return the findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"can_train": self.can_train, **asdict(self)}


@dataclass(frozen=True)
class Subject:
    """What the checks look at.

    Attributes:
        dataset: the labelled images.
        empty: class directories without images.
        inspections: of every image.
        parts: (n,) of "train", "validation", "test"; None where the data have none and cannot be split.
        split_problem: why they cannot; empty where they can.
        equal: groups of images with the same pixels.
        similar: groups of images that look alike, not all of them equal.
    """

    dataset: Dataset
    empty: tuple[Path, ...]
    inspections: list[Inspection]
    parts: Parts | None
    split_problem: str
    equal: list[Group]
    similar: list[Group]

    def name_image(self, index: int) -> ImageName:
        """Return how a person finds an image again."""
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
        """Where images are that are not known to lie in different parts."""
        return "in the data, which have no parts yet" if self.parts is None else "within one part"

    def crosses(self, group: Group) -> bool:
        """Return whether a group lies in more than one part."""
        return self.parts is not None and spans(group, self.parts)

    def count_classes(self, part: str | None = None) -> NDArray[np.int64]:
        """Return the number of images of each class, (classes,) int64, in one part or in all."""
        labels = self.dataset.labels
        if part is not None and self.parts is not None:
            labels = labels[self.parts == part]
        return np.bincount(labels, minlength=len(self.dataset.classes))
