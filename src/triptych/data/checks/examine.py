"""What is wrong with data before anything is trained on them; findings only, nothing is printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from triptych.config.schema import DataConfig, SplitConfig
from triptych.data.checks.findings import SEVERITIES, Examination, Subject
from triptych.data.checks.inspection import Inspection, inspect_images
from triptych.data.checks.rules import CHECKS
from triptych.data.datasets import Dataset, build_folder_dataset, load_dataset
from triptych.data.duplicates import Group, expand_groups, group_equal, group_similar
from triptych.data.folders import Parts, scan_folder
from triptych.data.splits import draw_split
from triptych.errors import DataError

PART_NAMES = ("train", "validation", "test")


def examine(data: str, on_image: Callable[[int, int], None] = lambda done, total: None) -> Examination:
    """Look at data as the pipeline would use them, with the default split.

    Args:
        data: a folder of images per class, `idx:DIR`, or the name of a data set.
        on_image: called with the number of images read and the number of all.

    Raises:
        DataError: there are no such data, or they are not laid out as data are.
    """
    subject = _load_subject(data, on_image)
    found = [finding for check in CHECKS for finding in check(subject)]
    return Examination(
        data=subject.dataset.name,
        images=len(subject.dataset.labels),
        classes=_tabulate_classes(subject),
        findings=tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))),
    )


def _load_subject(data: str, on_image: Callable[[int, int], None]) -> Subject:
    source = DataConfig(source=data).source
    scheme, _, directory = source.partition(":")
    empty: tuple[Path, ...] = ()
    if scheme == "folder":
        found = scan_folder(Path(directory), allow_empty=True)
        dataset, empty = build_folder_dataset(Path(directory), found), found.empty
    else:
        dataset = load_dataset(source)
    inspections = inspect_images(dataset.images, on_image)
    parts, problem = _split(dataset)
    equal = group_equal(inspection.identity for inspection in inspections)
    return Subject(dataset, empty, inspections, parts, problem, equal, _find_similar(inspections, equal))


def _split(dataset: Dataset) -> tuple[Parts | None, str]:
    """Return the part of every image, the data's own where no split can be drawn, and why not."""
    try:
        split = draw_split(dataset.labels, dataset.parts, dataset.classes, dataset.digest, SplitConfig())
    except DataError as error:
        return dataset.parts, str(error)
    return split.parts(), ""


def _find_similar(inspections: list[Inspection], equal: list[Group]) -> list[Group]:
    """Return the groups that look alike: one of each group of equals is compared, then all are named."""
    copies = {index for group in equal for index in group[1:]}
    shrunk = {
        index: inspection.shrunk
        for index, inspection in enumerate(inspections)
        if inspection.shrunk is not None and index not in copies
    }
    if len(shrunk) < 2:
        return []
    indices = list(shrunk)
    groups = group_similar(np.stack(list(shrunk.values())))
    return expand_groups([tuple(indices[member] for member in group) for group in groups], equal)


def _tabulate_classes(subject: Subject) -> dict[str, dict[str, int]]:
    parts = [""] if subject.parts is None else list(PART_NAMES)
    counts = {part: subject.count_classes(part or None).tolist() for part in parts}
    return {name: {part: counts[part][row] for part in parts} for row, name in enumerate(subject.dataset.classes)}
