"""The data sets by name: read from disk, downloaded if missing, and hashed."""

from __future__ import annotations

import gzip
import hashlib
import os
import pkgutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.config.names import DATASETS
from triptych.data.folders import ImageFolder, Parts, scan_folder
from triptych.errors import DamagedFileError, DataError, suggest
from triptych.images.pixels import Pixels
from triptych.images.sources import ArrayImages, FileImages, ImageSource
from triptych.images.walk import LeftOut
from triptych.system.checked import hash_file, list_hashes, read_json, write_json
from triptych.system.paths import data_homes, download_home

IDX_UNSIGNED_BYTE = 0x08
# scikit-learn's file is the test part of Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", 1998.
DIGITS_WRITERS = (
    "the digits were written by 13 people, one after the other in the file, and each of them is in every part: the "
    "accuracies are for these people, not for others"
)
# Lists the files of a data set that was downloaded.
DOWNLOADED = "downloaded.json"


@dataclass(frozen=True)
class Dataset:
    """Labelled images before any split.

    Attributes:
        name: of the data set, or of its folder.
        images: the raw images, each (height, width, channels) uint8.
        labels: (n,) int64, indices into `classes`.
        classes: the class names.
        parts: (n,) of "train", "validation" or "test" if the data set comes with a split of its own, else None.
        digest: SHA-256 of the images, labels, class names and parts, hexadecimal.
        root: the folder that the file names are relative to; None for arrays.
        notes: how the data was read, where that matters for the results.
        grows: whether images may be added or removed from one day to the next, as in a folder.
        subfolders: (n,) the folder of each image directly below that of its class, or None; empty without folders.
        left_out: the files and folders that were not read, and why.
    """

    name: str
    images: ImageSource
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    parts: Parts | None
    digest: str
    root: Path | None = None
    notes: tuple[str, ...] = ()
    grows: bool = False
    subfolders: tuple[str | None, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def fetch_dataset(source: str, *, nested: bool = False) -> Dataset:
    """Return the data set that a `data.source` names, downloaded if it is missing.

    Args:
        source: a name, or a layout and a path.
        nested: take the folders in a folder for classes although all of them hold the same folders, such as days.

    Raises:
        DataError: the name is unknown, files are missing and cannot be downloaded, or they are damaged.

    >>> digits = fetch_dataset("digits")
    >>> len(digits.images), digits.images[0].shape, digits.labels[:3].tolist()
    (1797, (8, 8, 1), [0, 1, 2])
    """
    layout, _, directory = source.partition(":")
    if directory and layout == "folder":
        return load_folder(Path(directory), nested=nested)
    if directory and layout in LAYOUTS:
        return LAYOUTS[layout](Path(directory))
    if source in DATASETS:
        fetch: Callable[[str], Dataset] = pkgutil.resolve_name(DATASETS[source].function)
        return fetch(source)
    names = [*DATASETS, *(f"{layout}:DIR" for layout in LAYOUTS)]
    raise DataError(f"unknown data set {source!r}: choose one of {', '.join(names)}{suggest(source, names)}")


def load_digits_images(name: str) -> Dataset:
    """Return scikit-learn's 1,797 digits of 8 x 8 pixels, their 17 grey levels scaled to 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return replace(_array_dataset(name, images, digits.target, tuple("0123456789")), notes=(DIGITS_WRITERS,))


IDX_PREFIXES = {"train": "train", "test": "t10k"}


def fetch_mnist_like(name: str) -> Dataset:
    """Return a data set in MNIST's format, downloaded if it is missing; its train and test files are its parts.

    Raises:
        DataError: the files are missing and cannot be downloaded, or they are damaged.
    """
    known = DATASETS[name]
    folder = Path(name) / known.torchvision_class / "raw"
    for home in data_homes():
        if all(_find_idx(home / folder, prefix) for prefix in IDX_PREFIXES.values()):
            _check_download(home / name, folder.relative_to(name))
            return _read_idx_parts(name, home / folder, known.classes)
    expected = ", ".join(f"{prefix}-{{images-idx3,labels-idx1}}-ubyte[.gz]" for prefix in IDX_PREFIXES.values())
    _download(name, f"{expected} belong in {data_homes()[0] / folder}")
    return _read_idx_parts(name, download_home() / folder, known.classes)


def load_idx_directory(directory: Path) -> Dataset:
    """Return the data set of a directory with MNIST's four IDX files, gzipped or not; classes are named by number.

    Raises:
        DataError: files are missing or damaged.
    """
    if not all(_find_idx(directory, prefix) for prefix in IDX_PREFIXES.values()):
        raise DataError(
            f"idx:{directory} is incomplete: it needs train-images-idx3-ubyte, train-labels-idx1-ubyte, "
            f"t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, gzipped or not"
        )
    return _read_idx_parts(directory.name, directory, None)


def _read_idx_parts(name: str, folder: Path, classes: tuple[str, ...] | None) -> Dataset:
    images, labels, parts = [], [], []
    for part, prefix in IDX_PREFIXES.items():
        image_file, label_file = _find_idx(folder, prefix) or (folder, folder)
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
    return _array_dataset(name, np.concatenate(images)[..., None], targets, names, np.concatenate(parts))


def _find_idx(folder: Path, prefix: str) -> tuple[Path, Path] | None:
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


def fetch_flowers(name: str) -> Dataset:
    """Return Oxford Flowers-102 with its own three parts, downloaded by torchvision if it is missing.

    Raises:
        DataError: the files are missing and cannot be downloaded, or they are incomplete.
    """
    from torchvision.datasets import Flowers102

    expected = f"flowers-102/{{jpg/,imagelabels.mat,setid.mat}} belong in {data_homes()[0] / name}"
    home = next((home for home in data_homes() if (home / name / "flowers-102").is_dir()), None)
    if home is None:
        _download(name, expected)
        home = download_home()
    _check_download(home / name, Path("flowers-102"))
    files: list[Path] = []
    labels: list[int] = []
    parts: list[str] = []
    for part, split in {"train": "train", "validation": "val", "test": "test"}.items():
        try:
            loaded: Any = Flowers102(str(home / name), split=split)
        except RuntimeError as error:
            raise DataError(f"{name} in {home / name} is incomplete: {expected}") from error
        # torchvision does not publish the file names; decoding through it would keep all images in memory.
        files += loaded._image_files  # noqa: SLF001
        labels += loaded._labels  # noqa: SLF001
        parts += [part] * len(loaded)
    classes = tuple(getattr(Flowers102, "classes", None) or (str(number + 1) for number in range(max(labels) + 1)))
    root = home / name / "flowers-102"
    return _file_dataset(name, root, files, np.asarray(labels), classes, np.asarray(parts, dtype="<U10"))


def load_folder(directory: Path, *, nested: bool = False) -> Dataset:
    """Return the data set of a folder with one directory per class, or with train/val/test directories of these.

    Args:
        directory: the folder.
        nested: as for `scan_folder`.

    Raises:
        DataError: the folder is not laid out like this.
    """
    return build_folder_dataset(directory, scan_folder(directory, nested=nested))


def build_folder_dataset(directory: Path, found: ImageFolder) -> Dataset:
    """Return the images that `scan_folder` found as a data set."""
    named = _file_dataset(directory.name, directory, found.files, found.labels, found.classes, found.parts)
    return replace(named, notes=found.notes, grows=True, subfolders=found.subfolders, left_out=found.left_out)


def _download(name: str, expected: str) -> None:
    import torchvision.datasets

    try:
        getattr(torchvision.datasets, DATASETS[name].torchvision_class)(str(download_home() / name), download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{name} was not found and could not be downloaded ({reason}): {expected}") from error
    write_json(download_home() / name / DOWNLOADED, {"files": list_hashes(download_home() / name)})


def _check_download(folder: Path, part: Path) -> None:
    """Check that the files of a data set are those that were downloaded, if this package downloaded it.

    Args:
        folder: the folder of the data set.
        part: the folder in it that is read.

    Raises:
        DamagedFileError: a file was changed, or is missing.
    """
    with suppress(FileNotFoundError):
        listed: dict[str, str] = read_json(folder / DOWNLOADED)["files"]
        found = list_hashes(folder / part)
        for name, checksum in listed.items():
            if Path(name).is_relative_to(part) and found.get(Path(name).relative_to(part).as_posix()) != checksum:
                remedy = f"delete {folder}, and run the same command again, which downloads it"
                raise DamagedFileError(folder / name, "it is not what was downloaded", remedy)


def _array_dataset(
    name: str, images: Pixels, labels: NDArray[Any], classes: tuple[str, ...], parts: Parts | None = None
) -> Dataset:
    targets = labels.astype(np.int64)
    pieces = [repr(images.shape).encode(), np.ascontiguousarray(images).data]
    digest = _hash(pieces, targets, classes, parts)
    return Dataset(name, ArrayImages(images), targets, classes, parts, digest)


def _file_dataset(
    name: str,
    root: Path,
    files: list[Path],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    parts: Parts | None,
) -> Dataset:
    identities = tuple(map(hash_file, files))
    names = (os.fsencode(file.relative_to(root).as_posix()) for file in files)
    pieces = (piece for named in zip(names, identities, strict=True) for piece in named)
    digest = _hash(pieces, labels, classes, parts)
    return Dataset(name, FileImages(tuple(files), identities), labels, classes, parts, digest, root)


def _hash(pieces: Any, labels: NDArray[np.int64], classes: tuple[str, ...], parts: Parts | None) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    digest.update(labels.tobytes())
    digest.update("\0".join(classes).encode())
    if parts is not None:
        digest.update("\0".join(parts.tolist()).encode())
    return digest.hexdigest()


LAYOUTS: dict[str, Callable[[Path], Dataset]] = {"idx": load_idx_directory, "folder": load_folder}
