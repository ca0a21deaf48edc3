"""The data sets by name: found on disk, downloaded where the network allows, and hashed."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.folders import ImageFolder, Parts, scan_folder
from triptych.errors import DataError, suggest
from triptych.images.pixels import Pixels
from triptych.images.sources import ArrayImages, FileImages, ImageSource, identify_file
from triptych.system.paths import data_homes, download_home

IDX_UNSIGNED_BYTE = 0x08


@dataclass(frozen=True)
class Dataset:
    """Labelled images as they come, before any split.

    Attributes:
        name: the data set's name, or its folder's.
        images: the raw images.
        labels: (n,) int64, an index into `classes`.
        classes: the class names.
        parts: (n,) of "train", "validation" or "test" where the data set comes divided, else None.
        digest: SHA-256 of the images, labels, class names and parts, hexadecimal.
        root: the folder that the file names are relative to; None for arrays.
        notes: what a reader of the results must know about how the data was read.
    """

    name: str
    images: ImageSource
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    parts: Parts | None
    digest: str
    root: Path | None = None
    notes: tuple[str, ...] = ()


def load_dataset(source: str) -> Dataset:
    """Return the data set that a `data.source` names.

    Raises:
        DataError: the name is unknown, files are missing and cannot be downloaded, or they are damaged.
    """
    scheme, _, directory = source.partition(":")
    if directory and scheme in DIRECTORY_LOADERS:
        return DIRECTORY_LOADERS[scheme](Path(directory))
    if source in LOADERS:
        return LOADERS[source](source)
    names = [*LOADERS, *(f"{scheme}:DIR" for scheme in DIRECTORY_LOADERS)]
    raise DataError(f"unknown data set {source!r}: choose one of {', '.join(names)}{suggest(source, names)}")


def load_digits_images(name: str) -> Dataset:
    """Return scikit-learn's 1,797 digits of 8 x 8, their 17 gray levels spread over 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return _array_dataset(name, images, digits.target, tuple("0123456789"))


@dataclass(frozen=True)
class IdxSet:
    """An MNIST-like set: torchvision's class for the download, and the class names."""

    torchvision_class: str
    classes: tuple[str, ...]


IDX_SETS = {
    "mnist": IdxSet("MNIST", tuple("0123456789")),
    "fashion-mnist": IdxSet(
        "FashionMNIST",
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle-boot"),
    ),
    "kmnist": IdxSet("KMNIST", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
}
IDX_PREFIXES = {"train": "train", "test": "t10k"}


def load_idx_set(name: str) -> Dataset:
    """Return MNIST or a set laid out like it, its two parts joined and remembered."""
    known = IDX_SETS[name]
    folder = Path(name) / known.torchvision_class / "raw"
    for home in data_homes():
        if all(_find_idx(home / folder, prefix) for prefix in IDX_PREFIXES.values()):
            return _read_idx_parts(name, home / folder, known.classes)
    wanted = f"{', '.join(f'{prefix}-{{images-idx3,labels-idx1}}-ubyte[.gz]' for prefix in IDX_PREFIXES.values())}"
    _download(name, known.torchvision_class, f"{wanted} belong in {data_homes()[0] / folder}")
    return _read_idx_parts(name, download_home() / folder, known.classes)


def load_idx_directory(directory: Path) -> Dataset:
    """Return the four IDX files of a directory, gzipped or not; classes are named by their numbers."""
    if not all(_find_idx(directory, prefix) for prefix in IDX_PREFIXES.values()):
        raise DataError(
            f"idx:{directory} lacks files: it needs train-images-idx3-ubyte, train-labels-idx1-ubyte, "
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
            raise DataError(f"{image_file} holds {len(images[-1])} images, but {label_file} {len(labels[-1])} labels")
        parts.append(np.full(len(labels[-1]), part, dtype="<U10"))
    targets = np.concatenate(labels)
    names = classes or tuple(str(label) for label in range(int(targets.max()) + 1))
    return _array_dataset(name, np.concatenate(images)[..., None], targets, names, np.concatenate(parts))


def _find_idx(folder: Path, prefix: str) -> tuple[Path, Path] | None:
    """Return the image and the label file of one part, or None where one is missing."""
    found = []
    for kind in ("images-idx3", "labels-idx1"):
        candidates = [folder / f"{prefix}-{kind}-ubyte{suffix}" for suffix in ("", ".gz")]
        found += [file for file in candidates if file.is_file()][:1]
    return (found[0], found[1]) if len(found) == 2 else None


def read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return an IDX file of unsigned bytes, gzipped or not (format: yann.lecun.com/exdb/mnist).

    Raises:
        DataError: the file is damaged, or holds another type or number of dimensions.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"{file} cannot be read ({error}): fetch it again") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, IDX_UNSIGNED_BYTE, dimensions]):
        raise DataError(f"{file} is not an IDX file of unsigned bytes in {dimensions} dimensions: fetch it again")
    shape = tuple(int(size) for size in np.frombuffer(content[4:header], dtype=">u4"))
    if len(content) - header != int(np.prod(shape)):
        raise DataError(f"{file} is cut short: its header promises {shape}; fetch it again")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def load_flowers(name: str) -> Dataset:
    """Return Oxford Flowers-102 with its own three parts, through torchvision's loader."""
    from torchvision.datasets import Flowers102

    expected = f"flowers-102/{{jpg/,imagelabels.mat,setid.mat}} belong in {data_homes()[0] / name}"
    home = next((home for home in data_homes() if (home / name / "flowers-102").is_dir()), None)
    if home is None:
        _download(name, "Flowers102", expected)
        home = download_home()
    files: list[Path] = []
    labels: list[int] = []
    parts: list[str] = []
    for part, split in {"train": "train", "validation": "val", "test": "test"}.items():
        try:
            loaded: Any = Flowers102(str(home / name), split=split)
        except RuntimeError as error:
            raise DataError(f"{name} under {home / name} is incomplete: {expected}") from error
        # torchvision shows no file names in public, and decoding through it would keep every image in memory.
        files += loaded._image_files  # noqa: SLF001
        labels += loaded._labels  # noqa: SLF001
        parts += [part] * len(loaded)
    classes = tuple(getattr(Flowers102, "classes", None) or (str(number + 1) for number in range(max(labels) + 1)))
    root = home / name / "flowers-102"
    return _file_dataset(name, root, files, np.asarray(labels), classes, np.asarray(parts, dtype="<U10"))


def load_folder(directory: Path) -> Dataset:
    """Return the images of a folder with one directory per class, with or without train/val/test on top."""
    return build_folder_dataset(directory, scan_folder(directory))


def build_folder_dataset(directory: Path, found: ImageFolder) -> Dataset:
    """Return what a scan of a folder found as a data set."""
    return _file_dataset(directory.name, directory, found.files, found.labels, found.classes, found.parts, found.notes)


def _download(name: str, torchvision_class: str, expected: str) -> None:
    import torchvision.datasets

    try:
        getattr(torchvision.datasets, torchvision_class)(str(download_home() / name), download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{name} was not found and could not be downloaded ({reason}): {expected}") from error


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
    notes: tuple[str, ...] = (),
) -> Dataset:
    digest = _hash(_identify_files(root, files), labels, classes, parts)
    return Dataset(name, FileImages(tuple(files)), labels, classes, parts, digest, root, notes)


def _identify_files(root: Path, files: list[Path]) -> Iterator[bytes]:
    for file in files:
        yield file.relative_to(root).as_posix().encode()
        yield identify_file(file)


def _hash(pieces: Any, labels: NDArray[np.int64], classes: tuple[str, ...], parts: Parts | None) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    digest.update(labels.tobytes())
    digest.update("\0".join(classes).encode())
    if parts is not None:
        digest.update("\0".join(parts.tolist()).encode())
    return digest.hexdigest()


LOADERS: dict[str, Callable[[str], Dataset]] = {
    "digits": load_digits_images,
    **dict.fromkeys(IDX_SETS, load_idx_set),
    "flowers102": load_flowers,
}
DIRECTORY_LOADERS: dict[str, Callable[[Path], Dataset]] = {"idx": load_idx_directory, "folder": load_folder}
