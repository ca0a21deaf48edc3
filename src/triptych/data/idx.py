"""Data sets in MNIST's format: IDX files, gzipped or not (yann.lecun.com/exdb/mnist describes the format)."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from triptych.data.datasets import Dataset, build_array_dataset, require_two_classes
from triptych.data.folders import Parts
from triptych.errors import DataError
from triptych.images.pixels import CHANNELS, Pixels
from triptych.system.files import explain_reading

# What the names of the files of each part begin with.
IDX_PREFIXES = {"train": "train", "test": "t10k"}
# What follows it. Kaggle's copy of MNIST has names with a dot.
KINDS = {"images": ("-images-idx3-ubyte", "-images.idx3-ubyte"), "labels": ("-labels-idx1-ubyte", "-labels.idx1-ubyte")}
UNSIGNED_BYTES = 8
TYPES = {
    UNSIGNED_BYTES: "unsigned bytes",
    9: "signed bytes",
    11: "16-bit integers",
    12: "32-bit integers",
    13: "32-bit floats",
    14: "64-bit floats",
}
GZIP = b"\x1f\x8b"
# What a file begins with that is in the place of an IDX file, and what to do with it.
STRANGERS = {
    GZIP: "is gzipped twice: unzip it once",
    b"PK": "is a zip archive: unpack it",
    b"BZh": "is a bzip2 archive: unpack it",
    b"\xfd7zXZ": "is an xz archive: unpack it",
    b"\x93NUMPY": "is a NumPy array: write it in MNIST's format",
    b"<": "is a web page, which a download that failed leaves: download it again",
    b"version https://git-lfs": "is a pointer of Git LFS: run `git lfs pull`",
}
AGAIN, BOTH_AGAIN = "download it again", "download both again"
# Deflate, gzip's method, makes 1,032 bytes of one at most.
MOST_OF_ONE_BYTE = 1032
# All images are in memory.
MOST_BYTES = 2**34
BLOCK_BYTES = 2**20

Shape = tuple[int, ...]


def load_idx_directory(directory: Path) -> Dataset:
    """Return the data set of a directory with MNIST's four IDX files, gzipped or not.

    Its classes are the labels that occur, named by their number.

    Raises:
        DataError: files are missing or damaged, or do not belong together.
    """
    images, labels, parts = read_idx_arrays(directory, IDX_PREFIXES)
    _, targets = np.unique(labels, return_inverse=True)
    return build_array_dataset(directory.name, images, targets, _name_classes(labels), parts)


def check_idx_directory(directory: Path) -> None:
    """Check the headers and the labels of what `load_idx_directory` reads, without unpacking any images.

    Raises:
        DataError: files are missing or damaged, do not belong together, or have only one class.
    """
    pairs, shapes = _read_headers(directory, IDX_PREFIXES)
    require_two_classes(_name_classes(_read_labels(pairs, shapes)))


def list_missing(folder: Path, prefixes: Mapping[str, str]) -> list[str]:
    """Return the names of the files that a folder lacks, as they are without gzip."""
    found = {prefix: _find_pair(folder, prefix) for prefix in prefixes.values()}
    return [f"{prefix}{KINDS[kind][0]}" for prefix in found for kind in KINDS if kind not in found[prefix]]


def _find_pair(folder: Path, prefix: str) -> dict[str, Path]:
    """Return the file of the images and that of the labels, as far as they exist."""
    names = ((kind, f"{prefix}{ending}{suffix}") for kind in KINDS for ending in KINDS[kind] for suffix in ("", ".gz"))
    found: dict[str, Path] = {}
    for kind, name in names:
        if kind not in found and (folder / name).is_file():
            found[kind] = folder / name
    return found


def read_idx_arrays(folder: Path, prefixes: Mapping[str, str]) -> tuple[Pixels, NDArray[np.uint8], Parts]:
    """Return the images and labels of a folder.

    Args:
        folder: the folder of the files.
        prefixes: what the names of the files begin with, for each part.

    Returns:
        The images, (n, height, width, channels) uint8; the labels, (n,) uint8; the parts, (n,).

    Raises:
        DataError: files are missing or damaged, or do not belong together.
    """
    pairs, shapes = _read_headers(folder, prefixes)
    labels = _read_labels(pairs, shapes)
    counts = [shape[0] for shape in shapes]
    images = np.empty((sum(counts), *shapes[0][1:]), dtype=np.uint8)
    for pair, rows in zip(pairs, np.split(images, np.cumsum(counts)[:-1]), strict=True):
        _read_into(pair["images"], rows)
    return images, labels, np.repeat(np.array(list(prefixes), dtype="<U10"), counts)


def _read_labels(pairs: list[dict[str, Path]], shapes: list[Shape]) -> NDArray[np.uint8]:
    """Return the labels of all parts, (n,) uint8."""
    labels = [np.empty(shape[0], dtype=np.uint8) for shape in shapes]
    for pair, rows in zip(pairs, labels, strict=True):
        _read_into(pair["labels"], rows)
    return np.concatenate(labels)


def _name_classes(labels: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(map(str, np.unique(labels).tolist()))


def _read_headers(folder: Path, prefixes: Mapping[str, str]) -> tuple[list[dict[str, Path]], list[Shape]]:
    """Return the two files of each part, and the shape of its images, if all belong together."""
    try:
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder: give the one that has the IDX files")
        missing = list_missing(folder, prefixes)
        pairs = [_find_pair(folder, prefix) for prefix in prefixes.values()]
        if missing:
            lacks = f"{folder} is incomplete: it lacks {', '.join(missing)}, gzipped or not"
            raise DataError(f"{lacks}{_hint(folder, prefixes)}")
    except OSError as error:
        raise DataError(f"{folder} {explain_reading(error)}") from error
    shapes = [_read_shapes(**pair) for pair in pairs]
    for pair, shape in zip(pairs, shapes, strict=True):
        if shape[1:] != shapes[0][1:]:
            sizes = f"{_describe(shapes[0][1:])} and {_describe(shape[1:])}"
            files = f"{pairs[0]['images']} and {pair['images']}"
            raise DataError(f"{files} hold images of different sizes, {sizes}: scale them to one size")
    return pairs, shapes


def _hint(folder: Path, prefixes: Mapping[str, str]) -> str:
    """Return where the files are instead, if they are below a folder or have other names."""
    for below in sorted([*folder.glob("*"), *folder.glob("*/raw")]):
        with suppress(OSError):  # a folder that may not be read is not the one
            if below.is_dir() and not list_missing(below, prefixes):
                return f"; {below} has them: give that folder"
    others = sorted(file.name for file in folder.glob("*-ubyte*") if not file.name.startswith(tuple(prefixes.values())))
    return f"; rename its other files, such as {others[0]}" if others else ""


def _read_shapes(images: Path, labels: Path) -> Shape:
    """Return the shape of a file of images, (n, height, width, channels), if that of the labels belongs to it."""
    shape, label_shape = _read_shape(images), _read_shape(labels)
    if len(shape) == 1 < len(label_shape):
        raise DataError(f"{images} holds labels, and {labels} holds images: swap their names")
    if len(label_shape) != 1:
        raise DataError(f"{labels} holds {_describe(label_shape)} numbers: it needs one label for each image")
    channels = 1 if len(shape) == 3 else shape[-1]
    if len(shape) not in {3, 4} or channels not in CHANNELS:
        raise DataError(
            f"{images} holds {_describe(shape)} numbers: images are number x height x width, or number x height x "
            f"width x 3 in colour"
        )
    if shape[0] == 0:
        raise DataError(f"{images} holds no images: add some, with their labels")
    if 0 in shape:
        raise DataError(f"{images} holds images of {_describe(shape[1:3])} pixels: an image needs one pixel or more")
    if shape[0] != label_shape[0]:
        raise DataError(
            f"{images} holds {shape[0]:,} images, but {labels} holds {label_shape[0]:,} labels: {BOTH_AGAIN}"
        )
    return *shape[:3], channels


def _describe(shape: Shape) -> str:
    """Return a shape in words.

    >>> _describe((60000, 28, 28))
    '60,000 x 28 x 28'
    """
    return " x ".join(f"{size:,}" for size in shape)


def _read_shape(file: Path) -> Shape:
    """Return the shape that the header of an IDX file says, after comparing it with the size of the file."""
    with _open(file) as stream:
        start = stream.read(4)
        if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in TYPES or start[3] == 0:
            raise DataError(f"{file} {_explain_stranger(start + stream.read(BLOCK_BYTES))}")
        sizes = stream.read(4 * start[3])
        zipped = isinstance(stream, gzip.GzipFile)
    if start[2] != UNSIGNED_BYTES:
        raise DataError(f"{file} holds {TYPES[start[2]]}: convert them to unsigned bytes, 0..255")
    if len(sizes) < 4 * start[3]:
        raise DataError(f"{file} is truncated in its header: {AGAIN}")
    shape = tuple(np.frombuffer(sizes, dtype=">u4").tolist())
    _check_size(file, shape, zipped=zipped)
    return shape


def _explain_stranger(start: bytes) -> str:
    """Return what is wrong with a file that has no header of IDX, by its start."""
    for known, explanation in STRANGERS.items():
        if start.startswith(known):
            return explanation
    return f"is {'no IDX file' if start else 'empty'}: {AGAIN}"


def _check_size(file: Path, shape: Shape, *, zipped: bool) -> None:
    """Compare the size that a header says with that of the file, before memory for it is taken."""
    announced = math.prod(shape)
    header, size = 4 + 4 * len(shape), file.stat().st_size
    if announced > (size * MOST_OF_ONE_BYTE if zipped else size - header):
        raise DataError(_explain_truncation(file, shape))
    if not zipped and announced < size - header:
        raise DataError(_explain_surplus(file, shape))
    if announced > MOST_BYTES:
        raise DataError(
            f"{file} holds {_describe(shape)} bytes, and at most {MOST_BYTES:,} are read into memory: use a folder of "
            f"images"
        )


def _explain_truncation(file: Path, shape: Shape) -> str:
    return f"{file} is truncated: its header says {_describe(shape)}, and it holds less; {AGAIN}"


def _explain_surplus(file: Path, shape: Shape) -> str:
    return f"{file} holds more than the {_describe(shape)} bytes of its header: {AGAIN}"


def _read_into(file: Path, array: NDArray[np.uint8]) -> None:
    """Fill an array with the numbers of an IDX file, whose header it fits; nothing beyond them is unpacked."""
    content = array.data.cast("B")
    filled = 0
    with _open(file) as stream:
        shape = np.frombuffer(stream.read(4 * stream.read(4)[3]), dtype=">u4").tolist()
        while block := stream.read(min(BLOCK_BYTES, len(content) - filled)):
            content[filled : filled + len(block)] = block
            filled += len(block)
        if filled < len(content):
            raise DataError(_explain_truncation(file, shape))
        if stream.read(1):
            raise DataError(_explain_surplus(file, shape))


@contextmanager
def _open(file: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open a file, unzipped if it is gzipped, whatever its name; explain any error with it while the block runs.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with file.open("rb") as opened:
            zipped = opened.read(2) == GZIP
            opened.seek(0)
            yield gzip.GzipFile(fileobj=opened) if zipped else opened
    except EOFError as error:
        raise DataError(f"{file} cannot be read (its gzip stream ends early): {AGAIN}") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{file} cannot be read (its gzip stream is damaged, or goes on): {AGAIN}") from error
    except OSError as error:
        raise DataError(f"{file} {explain_reading(error)}") from error
