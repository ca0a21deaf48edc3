"""The findings of an examination of data, and what the checks look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from triptych.data.checks.inspection import TRAITS, Inspection
from triptych.data.datasets import Dataset, name_file
from triptych.data.duplicates import Group, spans
from triptych.data.folders import Parts
from triptych.images.sources import FileImages
from triptych.images.walk import HIDDEN, LOCKED, REASONS, SEEN, SERVICE

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
# Of files and folders that are left out, by reason; the others are warnings.
LEFT_OUT: dict[str, Severity] = {LOCKED: "error", HIDDEN: "note", SERVICE: "note", SEEN: "note"}
# The severity of every kind of finding; a table in docs/photos.md says what each means.
KINDS: dict[str, Severity] = {
    "refused": "error",
    "unreadable": "error",
    "dark": "error",
    "empty_class": "error",
    "no_split": "error",
    "split_seed": "error",
    "same_in_parts": "warning",
    "same_in_classes": "warning",
    "similar_in_parts": "warning",
    "few_images": "warning",
    "imbalance": "warning",
    "mixed_depth": "warning",
    "classes_alike": "warning",
    "same": "note",
    "similar": "note",
    "similar_not_checked": "note",
    "small_images": "note",
    **dict.fromkeys(TRAITS, "note"),
    **{f"left_out_{reason}": LEFT_OUT.get(reason, "warning") for reason in REASONS},
    "reading": "note",
    "resolution": "note",
}
# In JSON, of the files of a finding, of its examples, and of the images of each.
MOST_LISTED = 100


@dataclass(frozen=True)
class ImageName:
    """The name, class and part of an image, so that it can be found.

    Attributes:
        name: the file relative to the data's folder or as a table names it, or "image" and its index.
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

    def as_json(self) -> dict[str, Any]:
        """Return the first images, and how many there are, as JSON values."""
        images = [asdict(image) for image in self.images[:MOST_LISTED]]
        return {"count": len(self.images), "images": images, "detail": self.detail}


@dataclass(frozen=True)
class Finding:
    """A problem of the data, or a property worth knowing before training.

    Attributes:
        kind: a row of `KINDS`.
        message: what was found, and what to do about it.
        examples: every instance that can be named.
        instances: how many there are, if they cannot be named.
    """

    kind: str
    message: str
    examples: tuple[Example, ...] = ()
    instances: int = 1

    @property
    def severity(self) -> Severity:
        """Return "error", which prevents training, "warning", which may distort the results, or "note"."""
        return KINDS[self.kind]

    def as_json(self) -> dict[str, Any]:
        """Return everything but long lists, of which only the start, as JSON values."""
        names = dict.fromkeys(image.name for example in self.examples for image in example.images)
        return {
            "kind": self.kind,
            "severity": self.severity,
            "count": len(self.examples) or self.instances,
            "message": self.message,
            "files": list(names)[:MOST_LISTED],
            "examples": [example.as_json() for example in self.examples[:MOST_LISTED]],
        }


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
        """Return everything but long lists, of which only the start, as JSON values."""
        return {
            "can_train": self.can_train,
            "data": self.data,
            "images": self.images,
            "classes": self.classes,
            "findings": [finding.as_json() for finding in self.findings],
        }


@dataclass(frozen=True)
class Subject:
    """The data that the checks look at.

    Attributes:
        dataset: the labelled images.
        empty: class directories without images.
        inspections: the properties of every image, in the same order.
        parts: (n,) of "train", "validation" or "test"; None if the data has no parts and cannot be split.
        split_problem: why the data cannot be split with the default seed; empty if it can.
        split_seed: the seed of `parts`, another one if that solves the problem; None if no seed does.
        equal: groups of images with the same pixels.
        similar: groups of images that look alike, not all of them equal.
        white_level: the value of 16 bits that is white, as configured.
    """

    dataset: Dataset
    empty: tuple[Path, ...]
    inspections: list[Inspection]
    parts: Parts | None
    split_problem: str
    split_seed: int | None
    equal: list[Group]
    similar: list[Group]
    white_level: int | None = None

    def name_image(self, index: int) -> ImageName:
        """Return the name, class and part of an image."""
        images, root = self.dataset.images, self.dataset.root
        name = f"image {index}"
        if isinstance(images, FileImages) and root is not None:
            name = name_file(images.files[index], root)
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
