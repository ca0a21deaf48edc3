"""The data sets by name: read from disk, and downloaded if they are missing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.config.names import DATASETS, EMNIST_SPLITS
from triptych.data.datasets import Dataset, build_array_dataset, build_file_dataset
from triptych.data.idx import IDX_PREFIXES, list_missing, read_idx_arrays
from triptych.errors import DamagedFileError, DataError
from triptych.system.checked import hash_file, list_hashes, read_json, write_json
from triptych.system.paths import data_homes, download_home

# scikit-learn's file is the test part of Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", 1998.
DIGITS_WRITERS = (
    "the digits were written by 13 people, one after the other in the file, and each of them is in every part: the "
    "accuracies are for these people, not for others"
)
# Lists the files of a data set that was downloaded.
DOWNLOADED = "downloaded.json"


def load_digits_images(name: str) -> Dataset:
    """Return scikit-learn's 1,797 digits of 8 x 8 pixels, their 17 grey levels scaled to 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return replace(build_array_dataset(name, images, digits.target, tuple("0123456789")), notes=(DIGITS_WRITERS,))


def fetch_mnist_like(name: str) -> Dataset:
    """Return a data set in MNIST's format, downloaded if it is missing; its train and test files are its parts.

    Raises:
        DataError: the files are missing and cannot be downloaded, or they are damaged.
    """
    known = DATASETS[name]
    folder = _provide_idx(name, Path(name) / known.torchvision_class / "raw", IDX_PREFIXES)
    images, labels, parts = read_idx_arrays(folder, IDX_PREFIXES)
    _require_labels(labels, len(known.classes), name, folder)
    return build_array_dataset(name, images, labels, known.classes, parts)


def fetch_emnist(name: str) -> Dataset:
    """Return one of the six divisions of EMNIST, downloaded if it is missing, the characters upright.

    The files hold each picture transposed (Cohen et al., "EMNIST: an extension of MNIST to handwritten letters", 2017).
    The classes are torchvision's that occur: `letters` has no class 0.

    Raises:
        DataError: the files are missing and cannot be downloaded, or they are damaged.
    """
    from torchvision.datasets import EMNIST

    split = EMNIST_SPLITS[name]
    prefixes = {part: f"emnist-{split}-{part}" for part in ("train", "test")}
    folder = _provide_idx(name, Path("emnist") / "EMNIST" / "raw", prefixes, split=split)
    images, labels, parts = read_idx_arrays(folder, prefixes)
    names = EMNIST.classes_split_dict[split]
    _require_labels(labels, len(names), name, folder)
    values, targets = np.unique(labels, return_inverse=True)
    upright = np.ascontiguousarray(images.swapaxes(1, 2))
    return build_array_dataset(name, upright, targets, tuple(names[value] for value in values.tolist()), parts)


def fetch_cifar10(name: str) -> Dataset:
    """Return CIFAR-10, downloaded if it is missing; its pickled files are only opened if torchvision's checksums match.

    Raises:
        DataError: the files are missing and cannot be downloaded, or they are damaged.
    """
    from torchvision.datasets import CIFAR10

    files = [*(file for file, _ in CIFAR10.train_list + CIFAR10.test_list), CIFAR10.meta["filename"]]
    expected = _describe_place(f"{', '.join(files)} (in {CIFAR10.filename})", name, CIFAR10.base_folder)
    root = _provide(name, Path(name) / CIFAR10.base_folder, Path.is_dir, expected).parent
    loaded = {part: _load(name, root, expected, train=part == "train") for part in ("train", "test")}
    images = np.concatenate([one.data for one in loaded.values()])
    labels = np.concatenate([one.targets for one in loaded.values()])
    parts = np.repeat(np.array(list(loaded), dtype="<U10"), [len(one) for one in loaded.values()])
    return build_array_dataset(name, images, labels, tuple(loaded["train"].classes), parts)


def fetch_flowers(name: str) -> Dataset:
    """Return Oxford Flowers-102 with its own three parts, downloaded by torchvision if it is missing.

    Raises:
        DataError: the files are missing and cannot be downloaded, or they are incomplete.
    """
    from torchvision.datasets import Flowers102

    expected = _describe_place("jpg/, imagelabels.mat and setid.mat", name, "flowers-102")
    folder = _provide(name, Path(name) / "flowers-102", Path.is_dir, expected)
    splits = {"train": "train", "validation": "val", "test": "test"}
    loaded = {part: _load(name, folder.parent, expected, split=split) for part, split in splits.items()}
    labels = np.concatenate([one._labels for one in loaded.values()])  # noqa: SLF001
    classes = tuple(
        getattr(Flowers102, "classes", None) or (str(number + 1) for number in range(int(labels.max()) + 1))
    )
    files = {part: one._image_files for part, one in loaded.items()}  # noqa: SLF001
    return _build_photos(name, folder, files, labels, classes, expected)


def fetch_pets(name: str) -> Dataset:
    """Return the 37 breeds of Oxford's pets with their own train and test part, downloaded if they are missing.

    Raises:
        DataError: the files are missing and cannot be downloaded, or they are incomplete.
    """
    expected = _describe_place("images/ and annotations/ (trainval.txt, test.txt)", name, "oxford-iiit-pet")
    folder = _provide(name, Path(name) / "oxford-iiit-pet", Path.is_dir, expected)
    splits = {"train": "trainval", "test": "test"}
    loaded = {part: _load(name, folder.parent, expected, split=split) for part, split in splits.items()}
    labels = np.concatenate([one._labels for one in loaded.values()])  # noqa: SLF001
    classes = tuple(loaded["train"].classes)
    _require_labels(labels, len(classes), name, folder)
    files = {part: one._images for part, one in loaded.items()}  # noqa: SLF001
    return _build_photos(name, folder, files, labels, classes, expected)


def _build_photos(
    name: str,
    folder: Path,
    files: dict[str, list[Path]],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    expected: str,
) -> Dataset:
    """Return a data set of photos that torchvision lists for each part.

    torchvision does not publish the names of the files; decoding through it would keep all images in memory.
    """
    listed = [Path(file) for part in files.values() for file in part]
    for file in listed:
        if not file.is_file():
            raise DataError(f"{name} in {folder.parent} is incomplete: {file} is missing; {expected}")
    parts = np.repeat(np.array(list(files), dtype="<U10"), [len(part) for part in files.values()])
    return build_file_dataset(name, folder, listed, labels, classes, parts)


def _require_labels(labels: NDArray[Any], classes: int, name: str, folder: Path) -> None:
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(
            f"{name} in {folder} has the labels {labels.min()} to {labels.max()}, and its {classes} classes are 0 to "
            f"{classes - 1}: delete the folder, and download it again"
        )


def _describe_place(files: str, name: str, folder: str) -> str:
    return f"{files} belong in {data_homes()[0] / name / folder}"


def _provide_idx(name: str, folder: Path, prefixes: dict[str, str], **options: Any) -> Path:
    """Return the folder with the IDX files of a data set, downloaded if no data home has all of them."""
    files = ", ".join(f"{prefix}-{{images-idx3,labels-idx1}}-ubyte[.gz]" for prefix in prefixes.values())
    expected = f"{files} belong in {data_homes()[0] / folder}"
    begins = tuple(prefixes.values())
    return _provide(name, folder, lambda found: not list_missing(found, prefixes), expected, begins, **options)


def _provide(
    name: str,
    folder: Path,
    is_complete: Callable[[Path], bool],
    expected: str,
    begins: tuple[str, ...] = ("",),
    **options: Any,
) -> Path:
    """Return the folder of a data set, downloaded if no data home has it.

    Args:
        name: of the data set.
        folder: its folder, relative to a data home.
        is_complete: whether a folder has the data set.
        expected: which files belong where, for errors.
        begins: what the names of the files that are read begin with.
        options: of torchvision's class.

    Raises:
        DamagedFileError: a file is not what was downloaded.
        DataError: it cannot be downloaded.
    """
    top = folder.parts[0]
    home = next((home for home in data_homes() if is_complete(home / folder)), None)
    if home is None:
        home = download_home()
        _download(name, home / top, expected, **options)
    _check_download(home / top, folder.relative_to(top), begins)
    return home / folder


def _download(name: str, root: Path, expected: str, **options: Any) -> None:
    try:
        _find_class(name)(str(root), download=True, **options)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{name} was not found and could not be downloaded ({reason}): {expected}") from error
    write_json(root / DOWNLOADED, {"files": list_hashes(root)})


def _load(name: str, root: Path, expected: str, **options: Any) -> Any:
    """Return torchvision's data set, which checks its files and decodes no image yet.

    Raises:
        DataError: a file is missing or damaged.
    """
    problem = DataError(f"{name} in {root} is incomplete or damaged: {expected}")
    try:
        loaded = _find_class(name)(str(root), **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise problem from error
    if not len(loaded):
        raise problem
    return loaded


def _find_class(name: str) -> Any:
    import torchvision.datasets

    return getattr(torchvision.datasets, DATASETS[name].torchvision_class)


def _check_download(folder: Path, part: Path, begins: tuple[str, ...]) -> None:
    """Check that the files of a data set are those that were downloaded, if this package downloaded it.

    Args:
        folder: the folder of the data set.
        part: the folder in it that is read.
        begins: what the names of the files that are read begin with.

    Raises:
        DamagedFileError: a file was changed, or is missing.
    """
    with suppress(FileNotFoundError):
        listed: dict[str, str] = read_json(folder / DOWNLOADED)["files"]
        for name, checksum in listed.items():
            read = Path(name).is_relative_to(part) and Path(name).name.startswith(begins)
            if read and _hash(folder / name) != checksum:
                remedy = f"delete {folder}, and run the same command again, which downloads it"
                raise DamagedFileError(folder / name, "it is not what was downloaded", remedy)


def _hash(file: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal; nothing if it cannot be read."""
    try:
        return hash_file(file).hex()
    except OSError:
        return ""
