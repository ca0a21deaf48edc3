"""A data set as it is prepared on disk: every image decoded once, with its thumbnail and the hash of its pixels.

Arrays are stored as they are. Photos come and go: what is made of each is stored by the hash of its file, for all data
sets, by `triptych.data.shards.thumbnails`, and a data set is only a description.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from triptych.config.schema import DataConfig
from triptych.data.datasets import Dataset, name_file
from triptych.data.duplicates import Group, find_similar, group_equal
from triptych.data.shards.places import Places
from triptych.data.shards.rows import ShardedRows
from triptych.data.shards.thumbnails import (
    ID_TYPE,
    PIXELS_METHOD,
    Look,
    find_thumbnails,
    provide_thumbnails,
    read_looks,
)
from triptych.errors import DataError
from triptych.images.depth import WHITE, explain_dark, merge_highest
from triptych.images.pixels import Pixels
from triptych.images.sources import ArrayImages, FileImages, identify_at, require_unchanged
from triptych.system.checked import map_checked, read_json, recall, write_checked, write_json
from triptych.system.files import touch
from triptych.system.paths import cache_home

# Written in this order: if the last one exists, so do all. Of photos there is only the last one.
PIXELS_FILE, IDS_FILE, DESCRIPTION_FILE = "pixels.npy", "image-ids.npy", "dataset.json"

ImageIds = NDArray[np.bytes_]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredDataset:
    """A prepared data set.

    Attributes:
        pixels: (n, height, width, channels) uint8, memory-mapped: arrays, or thumbnails of photos.
        image_ids: (n,) "S32", the first 32 hexadecimal digits of `identify_pixels` of each raw image.
        description: its labels, the names and hashes of its files, the groups of images that look alike, and the weight
            of each image if the data set has weights.
    """

    pixels: Pixels | ShardedRows
    image_ids: ImageIds
    description: dict[str, Any]

    @property
    def similar(self) -> list[Group]:
        """The groups of images that look alike."""
        return [tuple(group) for group in self.description["similar"]]


def load_stored(folder: Path, data: DataConfig) -> StoredDataset:
    """Return what `provide_stored` left in a folder.

    Args:
        folder: the folder of a prepared data set.
        data: the side of the thumbnails, and the white level.

    Raises:
        DamagedFileError: a file is not what was stored.
        FileNotFoundError: a file is missing, or the thumbnail of a photo.
    """
    description = read_json(folder / DESCRIPTION_FILE)
    if not description["files"]:
        return StoredDataset(map_checked(folder / PIXELS_FILE), map_checked(folder / IDS_FILE), description)
    white_level = data.white_level or WHITE
    identities = [identify_at(bytes.fromhex(identity), white_level) for identity in description["identities"]]
    return _open_photos(find_thumbnails(identities, data.thumbnail_pixels), description)


def _open_photos(places: Places, description: dict[str, Any]) -> StoredDataset:
    return StoredDataset(ShardedRows.of(list(places.list_runs())), places.marks["image_id"].copy(), description)


def find_folder(dataset: Dataset, data: DataConfig) -> Path:
    """Return the folder of a prepared data set in the cache."""
    size = "" if dataset.root is None else f"-{data.thumbnail_pixels}"
    return cache_home() / "datasets" / f"{dataset.digest[:16]}-{PIXELS_METHOD}{size}"


def read_with(dataset: Dataset, data: DataConfig) -> Dataset:
    """Return a data set that is read with a white level: another data set, as its pixels are others."""
    if data.white_level in {None, WHITE} or not isinstance(dataset.images, FileImages):
        return dataset
    digest = hashlib.sha256(f"{dataset.digest} {data.white_level}".encode()).hexdigest()
    return replace(dataset, images=replace(dataset.images, white_level=data.white_level), digest=digest)


def provide_stored(
    dataset: Dataset, data: DataConfig, on_image: Callable[[int, int], None] = lambda done, total: None
) -> StoredDataset:
    """Return a prepared data set, after storing what is missing or damaged.

    Args:
        dataset: the labelled images, from `read_with`.
        data: the side of the thumbnails, and the white level.
        on_image: called with the number of images done so far and their total, for each that is decoded.

    Raises:
        DataError: an image cannot be read, or was changed meanwhile; or 16-bit images would be nearly black.
        StorageError: the cache cannot be written.
    """
    folder = find_folder(dataset, data)
    touch(*(folder / name for name in (PIXELS_FILE, IDS_FILE, DESCRIPTION_FILE)))
    if isinstance(dataset.images, FileImages):
        stored = _provide_photos(dataset, dataset.images, folder, data.thumbnail_pixels, on_image)
    else:
        stored = _recall_arrays(folder) or _store_arrays(dataset, folder, data)
    if problem := explain_dark(stored.description["highest"], data.white_level):
        raise DataError(problem)
    return stored


def _recall_arrays(folder: Path) -> StoredDataset | None:
    """Return arrays as they are stored; None if one of the files is missing or damaged."""
    # Each file is looked at: one that is damaged could be in the way.
    pixels, ids = recall(lambda: map_checked(folder / PIXELS_FILE)), recall(lambda: map_checked(folder / IDS_FILE))
    description = recall(lambda: read_json(folder / DESCRIPTION_FILE))
    if pixels is None or ids is None or description is None:
        return None
    return StoredDataset(pixels, ids, description)


def _store_arrays(dataset: Dataset, folder: Path, data: DataConfig) -> StoredDataset:
    """Store the pixels, then their ids, then the description."""
    images = cast("ArrayImages", dataset.images)
    looks = [Look.at(image, {}) for image in images.array]
    ids = np.array([look.image_id for look in looks], dtype=ID_TYPE)
    for name, array in ((PIXELS_FILE, images.array), (IDS_FILE, ids)):
        with write_checked(folder / name) as stream:
            np.save(stream, array, allow_pickle=False)
    _describe(dataset, looks, folder)
    return load_stored(folder, data)


def _provide_photos(
    dataset: Dataset, images: FileImages, folder: Path, side: int, on_image: Callable[[int, int], None]
) -> StoredDataset:
    """Provide the thumbnails, then the description, which is written again if a photo was decoded."""
    decoded = 0

    def note(done: int, total: int) -> None:
        nonlocal decoded
        decoded += 1
        on_image(done, total)

    places = provide_thumbnails(images, side, note)
    description = recall(lambda: read_json(folder / DESCRIPTION_FILE))
    if decoded or description is None:
        require_unchanged(images)
        description = _describe(dataset, read_looks(places.marks), folder)
    _drop_arrays(folder)
    return _open_photos(places, description)


def _describe(dataset: Dataset, looks: Sequence[Look], folder: Path) -> dict[str, Any]:
    """Write and return the description of a data set."""
    source = dataset.images if isinstance(dataset.images, FileImages) else FileImages(())
    content = {
        "labels": dataset.labels.tolist(),
        "files": [name_file(file, dataset.root or file) for file in source.files],
        "identities": [identity.hex() for identity in source.identities],
        "states": source.states,
        "highest": merge_highest(look.highest for look in looks),
        "similar": find_similar([look.shrunk for look in looks], group_equal(look.image_id for look in looks)),
    }
    if dataset.weights is not None:
        content["weights"] = dataset.weights.tolist()
    write_json(folder / DESCRIPTION_FILE, content)
    return content


def _drop_arrays(folder: Path) -> None:
    """Delete the thumbnails that an earlier version stored for each state of a folder of photos."""
    with suppress(OSError):
        for name in (PIXELS_FILE, IDS_FILE):
            (folder / name).unlink()
        log.warning("%s is of an earlier version: thumbnails are now stored once for all data sets", folder)
