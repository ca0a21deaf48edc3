"""The data of a board, prepared once on disk and read by every task.

Each image is decoded once, to check that it can be read and to store the thumbnail that the MLPs use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.config.schema import GROUP, NO_GROUPS, SIMILAR, BoardConfig, SplitConfig
from triptych.config.trainers import kind_of_panel
from triptych.data.datasets import Dataset, fetch_dataset, name_file
from triptych.data.duplicates import Group, find_leaked, group_equal
from triptych.data.folders import describe_twins, find_twins
from triptych.data.folds.drawing import draw_repetition, require_classes
from triptych.data.groups import find_keys
from triptych.data.layouts import VAL_IS_TEST
from triptych.data.shards.rows import ShardedRows
from triptych.data.splits import (
    Split,
    check_classes,
    draw_split,
    identify_split,
    identify_test_set,
    load_split,
    save_split,
)
from triptych.data.stored import ImageIds, StoredDataset, find_folder, load_stored, provide_stored, read_with
from triptych.data.tables.scan import GROUPS_UNUSED
from triptych.errors import ConfigError, DamagedFileError, DataError
from triptych.images.depth import WHITE
from triptych.images.pixels import Pixels
from triptych.images.sources import ArrayImages, FileImages, ImageSource
from triptych.images.walk import describe_left_out
from triptych.system.checked import recall
from triptych.system.files import touch
from triptych.system.paths import cache_home


@dataclass(frozen=True)
class PreparedBoard:
    """A board on disk. Tasks pass it on in place of the data: names, hashes and paths, but no images.

    Attributes:
        config: the board's configuration.
        data_name: the name of the data set.
        data_digest: SHA-256 of the data, hexadecimal.
        classes: the class names.
        dataset_folder: the folder of the prepared data.
        root: the folder that the image files are relative to; None for arrays.
        split_file: the path of the split.
        split_id: hash of the data and the settings of the split.
        test_set_id: hash of the test images and their classes, whatever is in the other parts.
        sizes: the number of images in each part.
        notes: caveats about the data for readers of the results.
        grows: whether images may be added or removed from one day to the next, as in a folder.
        tuned: the panels with settings that a study found.
    """

    config: BoardConfig
    data_name: str
    data_digest: str
    classes: tuple[str, ...]
    dataset_folder: Path
    root: Path | None
    split_file: Path
    split_id: str
    test_set_id: str
    sizes: dict[str, int]
    notes: tuple[str, ...]
    grows: bool
    tuned: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoardData:
    """The data of a board, opened from disk.

    Attributes:
        prepared: the board that it was opened from.
        images: the raw images, of any size.
        pixels: (n, height, width, channels) uint8, memory-mapped: the arrays or thumbnails that the MLPs use.
        labels: (n,) int64, indices into `prepared.classes`.
        image_ids: (n,) "S32", a hash of the pixels of each raw image, whatever its file.
        split: the split, the same for every panel.
        image_weights: (n,) float64, positive: the weight of each training image in the loss of every panel; None: all
            weigh the same.
        similar: the groups of images that look alike.
    """

    prepared: PreparedBoard
    images: ImageSource
    pixels: Pixels | ShardedRows
    labels: NDArray[np.int64]
    image_ids: ImageIds
    split: Split
    image_weights: NDArray[np.float64] | None = None
    similar: Sequence[Group] = ()

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """The number of each image's group by `split.group_by`, (n,) int64; None if none are asked for."""
        return self.split.groups

    def name_image(self, index: int) -> str:
        """Return the name of an image: that of its file, relative to the data, or its number."""
        images, root = self.images, self.prepared.root
        return name_file(images.files[index], root or Path()) if isinstance(images, FileImages) else f"image {index}"

    def group_part(self, part: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the number of each image's group, (m,) int64; None if every image of the part stands alone.

        Groups are those of `split.group_by`; without it, copies and images that look alike are a group.

        Args:
            part: (m,) int64, indices of images.
        """
        if self.groups is not None:
            return self.groups[part]
        numbers = np.unique(self.image_ids, return_inverse=True)[1].astype(np.int64)
        for group in self.similar:
            numbers[list(group)] = numbers[group[0]]
        return numbers[part] if len(np.unique(numbers[part])) < len(part) else None

    def draw_folds(self, repeat: int) -> list[BoardData]:
        """Return the data with the split of each fold of a repetition; without folds, the data as they are."""
        settings = self.prepared.config.split
        if not settings.folds:
            return [self]
        folds = draw_repetition(self.split, self.labels, self.image_ids, settings, repeat)
        return [
            replace(self, prepared=replace(self.prepared, split_id=fold.split_id, sizes=fold.sizes()), split=fold)
            for fold in folds
        ]


def prepare_board(
    config: BoardConfig, on_image: Callable[[int, int], None] = lambda done, total: None
) -> PreparedBoard:
    """Load, check, split and store the data of a board; parts that are stored and sound are not computed again.

    Args:
        config: the board's configuration.
        on_image: called with the number of images checked so far and their total.

    Raises:
        ConfigError: a panel chooses something on the validation set, which is empty.
        DataError: the data set is missing, damaged or cannot be split.
        StorageError: the cache cannot be written.
    """
    nested = config.split.group_by != NO_GROUPS
    fetched = fetch_dataset(config.data.source, nested=nested, columns=config.data.columns)
    dataset = read_with(fetched, config.data)
    check_classes(dataset.labels, dataset.parts, dataset.classes, config.split)
    stored = provide_stored(dataset, config.data, on_image)
    hashed = dataset.grows or config.split.group_by != NO_GROUPS
    split_file = cache_home() / "splits" / f"{identify_split(dataset.digest, config.split, hashed=hashed)}.json"
    touch(split_file)
    split = _provide_split(dataset, config.split, stored, split_file)
    _check_choices(config, _list_trained(dataset, stored, split, config))
    return PreparedBoard(
        config=config,
        data_name=dataset.name,
        data_digest=dataset.digest,
        classes=dataset.classes,
        dataset_folder=find_folder(dataset, config.data),
        root=dataset.root,
        split_file=split_file,
        split_id=split.split_id,
        test_set_id=identify_test_set(stored.image_ids[split.test], dataset.labels[split.test], dataset.classes),
        sizes=split.sizes(),
        notes=(
            *_explain_parts(dataset, config),
            *_explain_folder(dataset),
            *_explain_groups(split, config.split),
            *_explain_leaks(dataset, stored, split, config),
        ),
        grows=dataset.grows,
    )


def _provide_split(dataset: Dataset, config: SplitConfig, stored: StoredDataset, file: Path) -> Split:
    """Return the stored split, or draw and save it."""
    if found := recall(lambda: load_split(file)):
        return found
    keys = find_keys(dataset, stored, config.group_by)
    split = draw_split(dataset.labels, dataset.parts, dataset.classes, dataset.digest, config, keys)
    save_split(split, file)
    return split


def _list_trained(dataset: Dataset, stored: StoredDataset, split: Split, config: BoardConfig) -> list[Split]:
    """Return the splits that panels are trained on: that of the board, or those of all folds, once they are checked."""
    if not config.split.folds:
        return [split]
    folds = [
        fold
        for repeat in range(config.repeats)
        for fold in draw_repetition(split, dataset.labels, stored.image_ids, config.split, repeat)
    ]
    require_classes(folds, dataset.labels, dataset.classes)
    return folds


def _check_choices(config: BoardConfig, splits: list[Split]) -> None:
    """Raise if a panel chooses something on the validation set although it is empty."""
    validated = all(len(split.validation) for split in splits)
    for panel in config.panels:
        kind = kind_of_panel(panel)
        if config.settings_of(panel).chooses and not validated:
            raise ConfigError(
                f"{kind}.patience and {kind}.keep_best_epoch need a validation set, which is empty on board "
                f"{config.name}: set split.validation_fraction, or leave both out"
            )


def _explain_parts(dataset: Dataset, config: BoardConfig) -> tuple[str, ...]:
    """Return the data set's notes without those that its settings answer; with one if its own parts are not kept."""
    notes = tuple(note for note in dataset.notes if note != GROUPS_UNUSED or config.split.group_by != GROUP)
    if config.split.keep_own_parts or dataset.parts is None:
        return notes
    kept = tuple(note for note in notes if note != VAL_IS_TEST)
    drawn = "folds" if config.split.folds else "train, validation and test"
    return (*kept, f"the data set's own parts were not used: {drawn} were drawn at random")


def _explain_folder(dataset: Dataset) -> list[str]:
    """Return what was left out of a folder, and which of its classes may be one."""
    if dataset.root is None or not dataset.grows:
        return []
    twins = [describe_twins(names) for names in find_twins(dataset.classes)]
    return [*describe_left_out(dataset.left_out, dataset.root), *twins]


def _explain_groups(split: Split, config: SplitConfig) -> list[str]:
    """Return how the images are grouped, if they are."""
    if split.groups is None:
        return []
    sizes, parts = np.bincount(split.groups), split.parts()
    note = (
        f"split.group_by={config.group_by} makes {len(sizes):,} groups of {len(split.groups):,} images, the largest of "
        f"{sizes.max():,}"
    )
    crossing = np.isin(split.groups[split.test], split.groups[parts != "test"]).sum()
    if crossing:
        note += f"; {crossing} test images share a group with train or validation, as these parts came with the data"
    return [note]


def _explain_leaks(dataset: Dataset, stored: StoredDataset, split: Split, config: BoardConfig) -> list[str]:
    """Return warnings if test images are also in the other parts, or look like images there."""
    if config.split.folds:
        return _explain_folds(stored, split, config)
    parts = split.parts()
    leaked = find_leaked(group_equal(stored.image_ids.tolist()), parts)
    similar = find_leaked(stored.similar, parts) - leaked
    listed = f"`triptych check {config.data.source}` lists them"
    notes = []
    if leaked:
        counted = f"{_count_of_test(leaked, split, 'is', 'are')} also in train or validation, pixel by pixel"
        notes.append(f"{counted}, which inflates every accuracy: {listed}")
    if similar:
        counted = f"{_count_of_test(similar, split, 'looks', 'look')} like an image in train or validation"
        remedy = f"split.group_by={SIMILAR} keeps them together"
        if dataset.parts is not None and config.split.keep_own_parts:
            remedy = f"split.keep_own_parts=false with split.group_by={SIMILAR} draws parts that keep them together"
        notes.append(f"{counted}, which may inflate every accuracy: {remedy}, and {listed}")
    return notes


def _explain_folds(stored: StoredDataset, split: Split, config: BoardConfig) -> list[str]:
    """Return how many images look like another one, from which folds may part them."""
    alike = sum(map(len, stored.similar)) if split.groups is None else 0
    if not alike:
        return []
    note = f"{alike} of {len(split.test)} images look like another one, which may inflate every accuracy"
    listed = f"`triptych check {config.data.source}` lists them"
    return [f"{note}: split.group_by={SIMILAR} keeps them in one fold, and {listed}"]


def _count_of_test(found: set[int], split: Split, singular: str, plural: str) -> str:
    return f"{len(found)} of {len(split.test)} test images {singular if len(found) == 1 else plural}"


def open_board(prepared: PreparedBoard) -> BoardData:
    """Open a board on this machine.

    It is prepared again if another machine prepared it in a cache that is not shared, or if a file was damaged since.

    Raises:
        DataError: the data is missing on this machine, or differs.
        StorageError: the cache cannot be written.
    """
    try:
        return load_board(prepared)
    except (FileNotFoundError, DamagedFileError):
        return load_board(_prepare_again(prepared))


def load_board(prepared: PreparedBoard) -> BoardData:
    """Return the data that `prepare_board` stored on this machine; no image is decoded yet.

    Raises:
        DamagedFileError: a file is not what was stored.
        FileNotFoundError: a file is missing.
    """
    stored = load_stored(prepared.dataset_folder, prepared.config.data)
    content = stored.description
    images: ImageSource
    if not isinstance(stored.pixels, ShardedRows):
        images = ArrayImages(stored.pixels)
    else:
        root = prepared.root or Path()
        files = tuple(root / name for name in content["files"])
        states = tuple((size, time) for size, time in content["states"])
        identities = tuple(map(bytes.fromhex, content["identities"]))
        images = FileImages(files, identities, states, prepared.config.data.white_level or WHITE)
    labels = np.asarray(content["labels"], dtype=np.int64)
    weights = np.asarray(content["weights"], dtype=np.float64) if "weights" in content else None
    split = load_split(prepared.split_file)
    return BoardData(prepared, images, stored.pixels, labels, stored.image_ids, split, weights, stored.similar)


def _prepare_again(prepared: PreparedBoard) -> PreparedBoard:
    """Prepare the same board from the data of this machine."""
    again = prepare_board(prepared.config)
    require_same_data(again, prepared.data_digest, prepared.split_id, prepared.test_set_id)
    return again


def require_same_data(prepared: PreparedBoard, data_digest: str, split_id: str, test_set_id: str) -> None:
    """Check that a board that was prepared on this machine has the data and the split of a comparison.

    Args:
        prepared: the board.
        data_digest: the comparison's SHA-256 of the data, hexadecimal.
        split_id: the comparison's hash of the split.
        test_set_id: the comparison's hash of the test images, which are known by their decoded pixels.

    Raises:
        DataError: the data or the split differs, or files are decoded to other pixels.
    """
    source = prepared.config.data.source
    if (prepared.data_digest, prepared.split_id) != (data_digest, split_id):
        raise DataError(
            f"data {source!r} on this machine ({prepared.data_digest[:16]}) is not the data of "
            f"the comparison ({data_digest[:16]}): copy it, or share one path"
        )
    if prepared.test_set_id != test_set_id:
        raise DataError(
            f"the images of data {source!r} have other pixels on this machine than where the comparison runs, so that "
            f"the test sets differ ({prepared.test_set_id}, {test_set_id}): install the same version of Pillow on both"
        )
