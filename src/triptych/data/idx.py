"""Data sets in MNIST's format: IDX files, gzipped or not."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.data.datasets import Dataset, build_array_dataset
from triptych.errors import DataError

IDX_UNSIGNED_BYTE = 0x08
IDX_PREFIXES = {"train": "train", "test": "t10k"}


def load_idx_directory(directory: Path) -> Dataset:
    """Return the data set of a directory with MNIST's four IDX files, gzipped or not; classes are named by number.

    Raises:
        DataError: files are missing or damaged.
    """
    if not all(find_idx(directory, prefix) for prefix in IDX_PREFIXES.values()):
        raise DataError(
            f"idx:{directory} is incomplete: it needs train-images-idx3-ubyte, train-labels-idx1-ubyte, "
            f"t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, gzipped or not"
        )
    return read_idx_parts(directory.name, directory, None)


def read_idx_parts(name: str, folder: Path, classes: tuple[str, ...] | None) -> Dataset:
    """Return the data set of a folder that has all four files; without class names, classes are named by number.

    Raises:
        DataError: a file is damaged.
    """
    images, labels, parts = [], [], []
    for part, prefix in IDX_PREFIXES.items():
        image_file, label_file = find_idx(folder, prefix) or (folder, folder)
        images.append(read_idx(image_file, dimensions=3))
        labels.append(read_idx(label_file, dimensions=1))
        if len(images[-1]) != len(labels[-1]):
            raise DataError(
                f"{image_file} holds {len(images[-1])} images, but {label_file} holds {len(labels[-1])} labels: "
                f"download both again"
            )
        parts.append(np.full(len(labels[-1]), part, dtype="<U10"))
    targets = np.concatenate(labels)
    names = classes or tuple(str(label) for label in range(int(targets.max()) + 1))
    return build_array_dataset(name, np.concatenate(images)[..., None], targets, names, np.concatenate(parts))


def find_idx(folder: Path, prefix: str) -> tuple[Path, Path] | None:
    """Return the image file and the label file of one part, or None if one is missing."""
    found = []
    for kind in ("images-idx3", "labels-idx1"):
        candidates = [folder / f"{prefix}-{kind}-ubyte{suffix}" for suffix in ("", ".gz")]
        found += [file for file in candidates if file.is_file()][:1]
    return (found[0], found[1]) if len(found) == 2 else None


def read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes, gzipped or not (format: yann.lecun.com/exdb/mnist).

    Args:
        file: its name ends in `.gz` if it is gzipped.
        dimensions: the number of axes that it must have: 3 for images, 1 for labels.

    Raises:
        DataError: the file is damaged, or holds another type or number of dimensions.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} cannot be read ({error}): download it again") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, IDX_UNSIGNED_BYTE, dimensions]):
        raise DataError(f"{file} is not an IDX file of unsigned bytes in {dimensions} dimensions: download it again")
    shape = tuple(int(size) for size in np.frombuffer(content[4:header], dtype=">u4"))
    if len(content) - header != int(np.prod(shape)):
        raise DataError(f"{file} is truncated: its header says {shape}; download it again")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
