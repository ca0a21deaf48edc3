"""A board on disk: the data that its panels need, prepared once and read by every task.

Each image is decoded once, to check that it can be read and to store the thumbnails that the MLPs see.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.config.schema import BoardConfig, DataConfig
from triptych.config.trainers import kind_of_panel
from triptych.data.datasets import Dataset, fetch_dataset
from triptych.data.duplicates import Group, count_leaked, group_equal, identify_pixels
from triptych.data.folders import VAL_IS_TEST
from triptych.data.splits import Split, draw_split, identify_split, load_split, save_split
from triptych.errors import ConfigError, DataError
from triptych.images.pixels import Pixels, make_thumbnail
from triptych.images.sources import ArrayImages, FileImages, ImageSource
from triptych.system.files import replace_atomically, write_atomically
from triptych.system.paths import cache_home

DECODING_THREADS = 4
# Part of the folder's name: a change of how pixels are made must not find the old ones.
PIXELS_METHOD = "pixels-2"
# Written in this order: the last one says that all is there.
STORED_FILES = ("pixels.npy", "identical.json", "dataset.json")


@dataclass(frozen=True)
class PreparedBoard:
    """A board on disk, as tasks pass it on: names, hashes and paths, never images.

    Attributes:
        config: the board's configuration.
        data_name: name of the data set.
        data_digest: SHA-256 of the data, hexadecimal.
        classes: the class names.
        dataset_folder: folder of the prepared data.
        root: folder that the image files are relative to; None for arrays.
        split_file: path of the split.
        split_id: hash of the data, the fractions and the seed.
        sizes: images of each part.
        notes: what a reader of the results must know about how the data were read.
    """

    config: BoardConfig
    data_name: str
    data_digest: str
    classes: tuple[str, ...]
    dataset_folder: Path
    root: Path | None
    split_file: Path
    split_id: str
    sizes: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class BoardData:
    """A board, opened.

    Attributes:
        prepared: what it was opened from.
        images: the raw images, of any sizes.
        pixels: (n, height, width, channels) uint8, memory-mapped: the images as the MLPs see them.
        labels: (n,) int64, an index into the classes of `prepared`.
    """

    prepared: PreparedBoard
    images: ImageSource
    pixels: Pixels
    labels: NDArray[np.int64]

    @cached_property
    def split(self) -> Split:
        """The division that every panel uses."""
        return load_split(self.prepared.split_file)


def prepare_board(
    config: BoardConfig, on_image: Callable[[int, int], None] = lambda done, total: None
) -> PreparedBoard:
    """Load, check, split and store the data of a board, unless they are stored already.

    Args:
        config: the board's configuration.
        on_image: called with the number of images checked and their total.

    Raises:
        DataError: the data set is missing, damaged or cannot be split.
    """
    dataset = fetch_dataset(config.data.source)
    folder = cache_home() / "datasets" / f"{dataset.digest[:16]}{_pixels_key(dataset, config.data)}"
    split_file = cache_home() / "splits" / f"{identify_split(dataset.digest, config.split)}.json"
    if not split_file.is_file():
        split = draw_split(dataset.labels, dataset.parts, dataset.classes, dataset.digest, config.split)
        save_split(split, split_file)
    if not all((folder / name).is_file() for name in STORED_FILES):
        _store_dataset(dataset, config.data, folder, on_image)
    split = load_split(split_file)
    _check_choices(config, split)
    return PreparedBoard(
        config=config,
        data_name=dataset.name,
        data_digest=dataset.digest,
        classes=dataset.classes,
        dataset_folder=folder,
        root=dataset.root,
        split_file=split_file,
        split_id=split.split_id,
        sizes=split.sizes(),
        notes=(*_explain_parts(dataset, config), *_explain_leaks(folder, split, config.data.source)),
    )


def _check_choices(config: BoardConfig, split: Split) -> None:
    """Raise if a panel chooses something on a validation part that is empty."""
    for panel in config.panels:
        kind = kind_of_panel(panel)
        if config.settings_of(panel).chooses and not len(split.validation):
            raise ConfigError(
                f"{kind}.patience and {kind}.keep_best_epoch choose on the validation part, which is empty on board "
                f"{config.name}: set split.validation_fraction, or neither of them"
            )


def _explain_parts(dataset: Dataset, config: BoardConfig) -> tuple[str, ...]:
    """Return the data set's notes; notes about its own parts hold only if these are kept."""
    if config.split.keep_own_parts or dataset.parts is None:
        return dataset.notes
    kept = tuple(note for note in dataset.notes if note != VAL_IS_TEST)
    return (*kept, "the data set's own parts were not kept: train, validation and test were drawn anew")


def _explain_leaks(folder: Path, split: Split, source: str) -> list[str]:
    """Return a warning if test images are in other parts too."""
    groups: list[Group] = json.loads((folder / "identical.json").read_text(encoding="utf-8"))
    leaked = count_leaked(groups, split.parts())
    if not leaked:
        return []
    counted = f"{leaked} of {len(split.test)} test images are also in train or validation, pixel by pixel"
    return [f"{counted}, which inflates every accuracy: `triptych check {source}` lists them"]


def open_board(prepared: PreparedBoard) -> BoardData:
    """Open a board on this machine; prepare it here first if its cache is not shared with this machine.

    Raises:
        DataError: the data are missing here, or differ.
    """
    is_here = prepared.split_file.is_file() and (prepared.dataset_folder / STORED_FILES[-1]).is_file()
    return load_board(prepared if is_here else _prepare_again(prepared))


def load_board(prepared: PreparedBoard) -> BoardData:
    """Return what `prepare_board` stored on this machine; nothing is decoded and no array is read yet."""
    pixels = np.load(prepared.dataset_folder / "pixels.npy", mmap_mode="r")
    content: dict[str, Any] = json.loads((prepared.dataset_folder / "dataset.json").read_text(encoding="utf-8"))
    images: ImageSource = ArrayImages(pixels)
    if prepared.root is not None:
        images = FileImages(tuple(prepared.root / name for name in content["files"]))
    return BoardData(prepared, images, pixels, np.asarray(content["labels"], dtype=np.int64))


def _prepare_again(prepared: PreparedBoard) -> PreparedBoard:
    """Prepare the same board from this machine's own data home."""
    prepared = prepare_board(prepared.config)
    require_same_data(prepared, prepared.data_digest, prepared.split_id)
    return prepared


def require_same_data(prepared: PreparedBoard, data_digest: str, split_id: str) -> None:
    """Check that a board prepared on this machine is the board of a comparison.

    Raises:
        DataError: the data or the split differ.
    """
    if (prepared.data_digest, prepared.split_id) != (data_digest, split_id):
        raise DataError(
            f"data {prepared.config.data.source!r} on this machine ({prepared.data_digest[:16]}) are not those of the "
            f"comparison ({data_digest[:16]}): copy them, or share one path"
        )


def _pixels_key(dataset: Dataset, data: DataConfig) -> str:
    return f"-{PIXELS_METHOD}" if dataset.root is None else f"-{PIXELS_METHOD}-{data.thumbnail_pixels}"


def _store_dataset(dataset: Dataset, data: DataConfig, folder: Path, on_image: Callable[[int, int], None]) -> None:
    """Decode every image once, store the pixels and which images are equal, and the file names last."""
    if isinstance(dataset.images, ArrayImages):
        pixels = dataset.images.array
        identities = [identify_pixels(image) for image in pixels]
    else:
        pixels, identities = _decode_thumbnails(dataset.images, data.thumbnail_pixels, on_image)
    with replace_atomically(folder / "pixels.npy") as partial:
        np.save(partial, pixels)
    write_atomically(folder / "identical.json", json.dumps(group_equal(identities)).encode())
    files = dataset.images.files if isinstance(dataset.images, FileImages) else ()
    names = [file.relative_to(dataset.root or file).as_posix() for file in files]
    content = {"labels": dataset.labels.tolist(), "files": names}
    write_atomically(folder / "dataset.json", json.dumps(content).encode())


def _decode_thumbnails(
    images: ImageSource, side: int, on_image: Callable[[int, int], None]
) -> tuple[Pixels, list[bytes]]:
    """Return (n, side, side, 3) uint8 and the identity of each image; raise at the first that cannot be read."""
    thumbnails = np.empty((len(images), side, side, 3), dtype=np.uint8)
    identities: list[bytes] = []

    def decode(index: int) -> tuple[Pixels, bytes]:
        image = images[index]
        return make_thumbnail(image, side), identify_pixels(image)

    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        for index, (thumbnail, identity) in enumerate(pool.map(decode, range(len(images)))):
            thumbnails[index] = thumbnail
            identities.append(identity)
            on_image(index + 1, len(images))
    return thumbnails, identities
