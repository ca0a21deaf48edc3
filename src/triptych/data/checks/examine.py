"""The examination of a data set before training; it returns its findings and prints nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from triptych.config.schema import GROUP, NO_GROUPS, DataConfig, SplitConfig
from triptych.data.checks.findings import SEVERITIES, Examination, Finding, Subject
from triptych.data.checks.inspection import Inspection, inspect_images
from triptych.data.checks.rules import CHECKS
from triptych.data.datasets import Dataset, build_folder_dataset, fetch_dataset, is_table
from triptych.data.duplicates import Group, find_similar, group_equal
from triptych.data.folders import Parts, scan_folder
from triptych.data.groups import find_keys
from triptych.data.shards.thumbnails import ID_TYPE, shorten_identity
from triptych.data.splits import check_classes, draw_split
from triptych.data.stored import StoredDataset, read_with
from triptych.data.tables.scan import GROUPS_UNUSED
from triptych.errors import DataError, InputError, SplitSeedError, describe_error
from triptych.images.sources import ArrayImages

PART_NAMES = ("train", "validation", "test")


def examine(
    data: str | DataConfig,
    split: SplitConfig | None = None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> Examination:
    """Check a data set as the pipeline would use it.

    Args:
        data: a folder with one directory of images per class, `table:FILE`, `idx:DIR`, or the name of a data set.
        split: how the images are split; None: as by default.
        on_image: called with the number of images read so far and the number of all images.

    Raises:
        DataError: there is no such data, or its layout is not one of these.
    """
    subject = _inspect_data(data, split or SplitConfig(), on_image)
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


def _inspect_data(data: str | DataConfig, split: SplitConfig, on_image: Callable[[int, int], None]) -> Subject:
    config = data if isinstance(data, DataConfig) else DataConfig(source=data)
    layout, _, directory = config.source.partition(":")
    empty: tuple[Path, ...] = ()
    nested = split.group_by != NO_GROUPS
    if layout == "folder" and not config.columns and not is_table(layout, Path(directory)):
        found = scan_folder(Path(directory), lenient=True, nested=nested)
        dataset, empty = build_folder_dataset(Path(directory), found), found.empty
    else:
        dataset = fetch_dataset(config.source, nested=nested, columns=config.columns)
    dataset = read_with(dataset, config)
    if split.group_by == GROUP:
        dataset = replace(dataset, notes=tuple(note for note in dataset.notes if note != GROUPS_UNUSED))
    inspections = inspect_images(dataset.images, on_image)
    equal = group_equal(inspection.identity for inspection in inspections)
    similar = find_similar([inspection.shrunk for inspection in inspections], equal)
    parts, problem, seed = _split(dataset, _describe_stored(dataset, inspections, similar), split)
    return Subject(dataset, empty, inspections, parts, problem, seed, equal, similar, config.white_level)


def _describe_stored(dataset: Dataset, inspections: list[Inspection], similar: list[Group]) -> StoredDataset:
    """Return what a comparison would store of the images and use for their groups."""
    ids = [shorten_identity(inspection.identity or b"unreadable") for inspection in inspections]
    pixels = dataset.images.array if isinstance(dataset.images, ArrayImages) else np.empty((0, 0, 0, 3), dtype=np.uint8)
    return StoredDataset(pixels, np.array(ids, dtype=ID_TYPE), {"similar": similar})


def _split(dataset: Dataset, stored: StoredDataset, settings: SplitConfig) -> tuple[Parts | None, str, int | None]:
    """Return the part of every image, what is wrong with the split, and the seed with which nothing is.

    If no split can be drawn, the parts are those that the data set comes with. Folds are no parts.
    """
    try:
        check_classes(dataset.labels, dataset.parts, dataset.classes, settings)
        keys = find_keys(dataset, stored, settings.group_by)
        split = draw_split(dataset.labels, dataset.parts, dataset.classes, dataset.digest, settings, keys)
    except SplitSeedError as error:
        parts, _, seed = _split(dataset, stored, settings.model_copy(update={"seed": error.seed}))
        return parts, str(error), seed
    except DataError as error:
        return dataset.parts, str(error), None
    return None if settings.folds else split.parts(), "", settings.seed


def _tabulate_classes(subject: Subject) -> dict[str, dict[str, int]]:
    parts = [""] if subject.parts is None else list(PART_NAMES)
    counts = {part: subject.count_classes(part or None).tolist() for part in parts}
    return {name: {part: counts[part][row] for part in parts} for row, name in enumerate(subject.dataset.classes)}
