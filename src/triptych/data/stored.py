"""A data set as it is prepared on disk: every image decoded once, with its thumbnail and the hash of its pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from triptych.config.schema import DataConfig
from triptych.data.datasets import Dataset, name_file
from triptych.data.duplicates import Group, find_similar, group_equal, identify_pixels, shrink
from triptych.errors import DataError
from triptych.images.depth import WHITE, explain_dark, merge_highest
from triptych.images.pixels import Pixels, make_thumbnail
from triptych.images.sources import ArrayImages, FileImages, require_unchanged
from triptych.system.checked import map_checked, read_json, recall, write_checked, write_json
from triptych.system.files import touch
from triptych.system.paths import cache_home

DECODING_THREADS = 4
# Part of the folder's name. Change it when pixels are computed differently, so that old ones are not found.
PIXELS_METHOD = "pixels-6"
# Written in this order: if the last one exists, so do all.
PIXELS_FILE, IDS_FILE, DESCRIPTION_FILE = "pixels.npy", "image-ids.npy", "dataset.json"
FILES = (PIXELS_FILE, IDS_FILE, DESCRIPTION_FILE)
# Half of a SHA-256: 128 bits.
ID_DIGITS = 32
ID_TYPE = f"S{ID_DIGITS}"

ImageIds = NDArray[np.bytes_]


@dataclass(frozen=True)
class StoredDataset:
    """The content of the folder of a prepared data set.

    Attributes:
        pixels: (n, height, width, channels) uint8, memory-mapped: arrays, or thumbnails of photos.
        image_ids: (n,) "S32", memory-mapped: the first 32 hexadecimal digits of `identify_pixels` of each raw image.
        description: its labels, the names and hashes of its files, the groups of images that look alike, and the weight
            of each image if the data set has weights.
    """

    pixels: Pixels
    image_ids: ImageIds
    description: dict[str, Any]

    @property
    def similar(self) -> list[Group]:
        """The groups of images that look alike."""
        return [tuple(group) for group in self.description["similar"]]


class Look(NamedTuple):
    """What is compared of an image: the id, equal for equal pixels, what `shrink` returns, and its highest values."""

    image_id: str
    shrunk: bytes | None
    highest: dict[str, int]


def load_stored(folder: Path) -> StoredDataset:
    """Return what `provide_stored` left in a folder.

    Raises:
        DamagedFileError: a file is not what was stored.
        FileNotFoundError: a file is missing.
    """
    pixels, image_ids = map_checked(folder / PIXELS_FILE), map_checked(folder / IDS_FILE)
    return StoredDataset(pixels, image_ids, read_json(folder / DESCRIPTION_FILE))


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
    """Return a prepared data set, after storing it if it is missing or damaged.

    Args:
        dataset: the labelled images, from `read_with`.
        data: the side of the thumbnails, and the white level.
        on_image: called with the number of images decoded so far and their total.

    Raises:
        DataError: an image cannot be read, or was changed meanwhile; or 16-bit images would be nearly black.
        StorageError: the cache cannot be written.
    """
    folder = find_folder(dataset, data)
    touch(*(folder / name for name in FILES))
    pixels = recall(lambda: map_checked(folder / PIXELS_FILE))
    image_ids = recall(lambda: map_checked(folder / IDS_FILE))
    description = recall(lambda: read_json(folder / DESCRIPTION_FILE))
    stored = None
    if pixels is not None and image_ids is not None and description is not None:
        stored = StoredDataset(pixels, image_ids, description)
    stored = stored or _store(dataset, folder, data.thumbnail_pixels, on_image)
    if problem := explain_dark(stored.description["highest"], data.white_level):
        raise DataError(problem)
    return stored


def _store(dataset: Dataset, folder: Path, side: int, on_image: Callable[[int, int], None]) -> StoredDataset:
    """Decode every image once; store the pixels, then their ids, then the description."""
    if isinstance(dataset.images, ArrayImages):
        pixels = dataset.images.array
        looks = [_look(image, {}) for image in pixels]
    else:
        pixels, looks = _decode_thumbnails(cast("FileImages", dataset.images), side, on_image)
    ids = [look.image_id for look in looks]
    require_unchanged(dataset.images)
    for name, array in ((PIXELS_FILE, pixels), (IDS_FILE, np.array(ids, dtype=ID_TYPE))):
        with write_checked(folder / name) as stream:
            np.save(stream, array, allow_pickle=False)
    source = dataset.images if isinstance(dataset.images, FileImages) else FileImages(())
    content = {
        "labels": dataset.labels.tolist(),
        "files": [name_file(file, dataset.root or file) for file in source.files],
        "identities": [identity.hex() for identity in source.identities],
        "states": source.states,
        "highest": merge_highest(look.highest for look in looks),
        "similar": find_similar([look.shrunk for look in looks], group_equal(ids)),
    }
    if dataset.weights is not None:
        content["weights"] = dataset.weights.tolist()
    write_json(folder / DESCRIPTION_FILE, content)
    return load_stored(folder)


def _decode_thumbnails(
    images: FileImages, side: int, on_image: Callable[[int, int], None]
) -> tuple[Pixels, list[Look]]:
    """Return thumbnails, (n, side, side, 3) uint8, and what is compared of each image.

    Raises:
        DataError: an image cannot be read.
    """
    thumbnails = np.empty((len(images), side, side, 3), dtype=np.uint8)
    looks: list[Look] = []

    def decode(index: int) -> tuple[Pixels, Look]:
        with images.locate(index).opened() as decoded:
            return make_thumbnail(decoded.pixels, side), _look(decoded.pixels, decoded.highest)

    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        for index, (thumbnail, look) in enumerate(pool.map(decode, range(len(images)))):
            thumbnails[index] = thumbnail
            looks.append(look)
            on_image(index + 1, len(images))
    return thumbnails, looks


def _look(image: Pixels, highest: dict[str, int]) -> Look:
    return Look(shorten_identity(identify_pixels(image)), shrink(image), highest)


def shorten_identity(identity: bytes) -> str:
    """Return the id of an image by its `identify_pixels`."""
    return identity.hex()[:ID_DIGITS]
