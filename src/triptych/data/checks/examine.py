"""The examination of a data set before training; it returns its findings and prints nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from triptych.config.schema import DataConfig, SplitConfig
from triptych.data.checks.findings import SEVERITIES, Examination, Finding, Subject
from triptych.data.checks.inspection import Inspection, inspect_images
from triptych.data.checks.rules import CHECKS
from triptych.data.datasets import Dataset, build_folder_dataset, fetch_dataset, is_table
from triptych.data.duplicates import find_similar, group_equal
from triptych.data.folders import Parts, scan_folder
from triptych.data.splits import check_classes, draw_split
from triptych.data.stored import ID_TYPE, read_with, shorten_identity
from triptych.errors import DataError, InputError, SplitSeedError, describe_error

PART_NAMES = ("train", "validation", "test")


def examine(data: str | DataConfig, on_image: Callable[[int, int], None] = lambda done, total: None) -> Examination:
    """Check a data set as the pipeline would use it, with the default split.

    Args:
        data: a folder with one directory of images per class, `table:FILE`, `idx:DIR`, or the name of a data set.
        on_image: called with the number of images read so far and the number of all images.

    Raises:
        DataError: there is no such data, or its layout is not one of these.
    """
    subject = _inspect_data(data, on_image)
    found = [finding for check in CHECKS for finding in check(subject)]
    return Examination(
        data=subject.dataset.name,
        images=len(subject.dataset.labels),
        classes=_tabulate_classes(subject),
        findings=tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))),
    )


def refuse(data: str, error: InputError) -> Examination:
    """Return the examination of data that cannot be examined, because `examine` raised this error."""
    return Examination(data, 0, {}, (Finding("refused", describe_error(error)),))


def _inspect_data(data: str | DataConfig, on_image: Callable[[int, int], None]) -> Subject:
    config = data if isinstance(data, DataConfig) else DataConfig(source=data)
    layout, _, directory = config.source.partition(":")
    empty: tuple[Path, ...] = ()
    if layout == "folder" and not config.columns and not is_table(layout, Path(directory)):
        found = scan_folder(Path(directory), lenient=True)
        dataset, empty = build_folder_dataset(Path(directory), found), found.empty
    else:
        dataset = fetch_dataset(config.source, columns=config.columns)
    dataset = read_with(dataset, config)
    inspections = inspect_images(dataset.images, on_image)
    parts, problem, seed = _split(dataset, inspections)
    equal = group_equal(inspection.identity for inspection in inspections)
    similar = find_similar([inspection.shrunk for inspection in inspections], equal)
    return Subject(dataset, empty, inspections, parts, problem, seed, equal, similar, config.white_level)


def _split(dataset: Dataset, inspections: list[Inspection], seed: int = 0) -> tuple[Parts | None, str, int]:
    """Return the part of every image, what is wrong with the default split, and the seed of the split that is right.

    If no split can be drawn, the parts are those that the data set comes with.
    """
    ids = [shorten_identity(inspection.identity or b"unreadable") for inspection in inspections]
    keys = np.array(ids, dtype=ID_TYPE) if dataset.grows else None
    settings = SplitConfig(seed=seed)
    try:
        check_classes(dataset.labels, dataset.parts, dataset.classes, settings)
        split = draw_split(dataset.labels, dataset.parts, dataset.classes, dataset.digest, settings, keys)
    except SplitSeedError as error:
        parts, _, other = _split(dataset, inspections, error.seed)
        return parts, str(error), other
    except DataError as error:
        return dataset.parts, str(error), seed
    return split.parts(), "", seed


def _tabulate_classes(subject: Subject) -> dict[str, dict[str, int]]:
    parts = [""] if subject.parts is None else list(PART_NAMES)
    counts = {part: subject.count_classes(part or None).tolist() for part in parts}
    return {name: {part: counts[part][row] for part in parts} for row, name in enumerate(subject.dataset.classes)}
