"""What is made of a photo when it is decoded: its thumbnail, the hash of its pixels, and how it looks.

It is stored by the hash of the photo's file, in files that all data sets share: only photos that none of them holds are
decoded, wherever in a data set they are. A killed run continues at the first missing file, and concurrent runs divide
the missing files among themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray

from triptych.data.duplicates import LOOK_SIDE, identify_pixels, shrink
from triptych.data.shards import files as shard_files
from triptych.data.shards.files import POLL_SECONDS, Identities, Layout, Marks, try_lock, write_rows
from triptych.data.shards.places import Places, find_first
from triptych.data.shards.space import Space, name_shard
from triptych.images.pixels import Pixels, make_thumbnail
from triptych.images.sources import FileImages
from triptych.system.paths import cache_home
from triptych.system.slices import iterate_slices

DECODING_THREADS = 4
# Part of the folder's name. Change it when pixels are computed differently, so that old ones are not found.
PIXELS_METHOD = "pixels-6"
# Half of a SHA-256: 128 bits.
ID_DIGITS = 32
ID_TYPE = f"S{ID_DIGITS}"
LOOK_BYTES = LOOK_SIDE**2 * 3
# The fields of `Look`: one that is too small is not compared, and one without 16 bits has no depth.
MARK = np.dtype(
    [
        ("identity", "S32"),
        ("image_id", ID_TYPE),
        ("compared", "?"),
        ("shrunk", "u1", (LOOK_BYTES,)),
        ("depth", "S8"),
        ("highest", "u2"),
    ]
)


class Look(NamedTuple):
    """What is compared of an image: the id, equal for equal pixels, what `shrink` returns, and its highest values."""

    image_id: str
    shrunk: bytes | None
    highest: dict[str, int]

    @classmethod
    def at(cls, image: Pixels, highest: dict[str, int]) -> Look:
        """Return what is compared of an image, (height, width, channels) uint8."""
        return cls(shorten_identity(identify_pixels(image)), shrink(image), highest)

    def as_mark(self, identity: bytes) -> tuple[Any, ...]:
        """Return the row of `MARK` of an image whose file has this SHA-256."""
        shrunk = np.frombuffer(self.shrunk or bytes(LOOK_BYTES), dtype=np.uint8)
        [(depth, highest)] = self.highest.items() or [("", 0)]
        return identity, self.image_id.encode(), self.shrunk is not None, shrunk, depth.encode(), highest


def read_looks(marks: Marks) -> list[Look]:
    """Return what `Look.as_mark` was made of, given (n,) `MARK`."""
    return [
        Look(image_id.decode(), shrunk.tobytes() if compared else None, {depth.decode(): highest} if depth else {})
        for image_id, compared, shrunk, depth, highest in zip(
            marks["image_id"].tolist(),
            marks["compared"].tolist(),
            marks["shrunk"],
            marks["depth"].tolist(),
            marks["highest"].tolist(),
            strict=True,
        )
    ]


def shorten_identity(identity: bytes) -> str:
    """Return the id of an image by its `identify_pixels`."""
    return identity.hex()[:ID_DIGITS]


def open_thumbnails(side: int) -> Space:
    """Return the folder of all thumbnails of a side, in pixels, of photos that this version of Pillow decoded."""
    folder = cache_home() / "thumbnails" / f"{PIXELS_METHOD}-{side}-pillow-{PIL.__version__}"
    return Space(folder, Layout((side, side, 3), np.dtype(np.uint8), MARK))


def find_thumbnails(identities: Sequence[bytes], side: int) -> Places:
    """Return where the thumbnails of photos are, by `FileImages.list_identities`.

    Raises:
        FileNotFoundError: one is missing.
    """
    space = open_thumbnails(side)
    places = space.find(np.array(identities, dtype="S32"))
    if len(places.missing):
        raise FileNotFoundError(f"{space.folder} lacks {len(places.missing)} thumbnail(s)")
    return places


def provide_thumbnails(images: FileImages, side: int, on_image: Callable[[int, int], None]) -> Places:
    """Return where the thumbnails of photos are, after decoding those that are missing or damaged.

    Args:
        images: the photos.
        side: of the thumbnails, pixels.
        on_image: called with the number of images done so far and their total, for each that is decoded.

    Raises:
        DataError: an image cannot be read, or was changed meanwhile.
        StorageError: the cache cannot be written.
    """
    space, identities = open_thumbnails(side), np.array(images.list_identities(), dtype="S32")
    while True:
        places = space.find(identities)
        lacking = find_first(identities, places.missing)
        if not len(lacking):
            space.merge()
            return places
        decoded = 0
        for part in iterate_slices(len(lacking), shard_files.IMAGES_PER_SHARD):
            done = len(images) - len(lacking) + decoded

            def report(index: int, done: int = done) -> None:
                on_image(done + index + 1, len(images))

            decoded += _provide_file(space, images, identities, lacking[part], report)
        if not decoded:
            time.sleep(POLL_SECONDS)


def _provide_file(
    space: Space,
    images: FileImages,
    identities: Identities,
    indices: NDArray[np.int64],
    on_image: Callable[[int], None],
) -> int:
    """Decode some photos and write a file of them, unless another process does or did; return how many."""
    file = space.folder / name_shard(identities[indices])
    with try_lock(file) as locked:
        # Another process may have finished the file just before it was locked here.
        if not locked or space.verify(file):
            return 0
        thumbnails, looks = _decode(images, indices.tolist(), space.layout.shape[0], on_image)
        for index in indices.tolist():
            images.identify(index)
        marks = [look.as_mark(identity) for look, identity in zip(looks, identities[indices].tolist(), strict=True)]
        write_rows(file, np.array(marks, dtype=MARK), thumbnails)
    return len(indices)


def _decode(
    images: FileImages, indices: Sequence[int], side: int, on_image: Callable[[int], None]
) -> tuple[Pixels, list[Look]]:
    """Return thumbnails, (n, side, side, 3) uint8, and what is compared of each image.

    Raises:
        DataError: an image cannot be read.
    """
    thumbnails = np.empty((len(indices), side, side, 3), dtype=np.uint8)
    looks: list[Look] = []

    def decode(index: int) -> tuple[Pixels, Look]:
        with images.locate(index).opened() as decoded:
            return make_thumbnail(decoded.pixels, side), Look.at(decoded.pixels, decoded.highest)

    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        for row, (thumbnail, look) in enumerate(pool.map(decode, indices)):
            thumbnails[row] = thumbnail
            looks.append(look)
            on_image(row)
    return thumbnails, looks
