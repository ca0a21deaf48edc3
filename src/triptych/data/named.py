"""The data sets by name: read from disk, and downloaded if they are missing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from triptych.config.names import DATASETS
from triptych.data.datasets import Dataset, build_array_dataset, build_file_dataset
from triptych.data.idx import IDX_PREFIXES, list_missing, read_idx_arrays
from triptych.errors import DamagedFileError, DataError
from triptych.system.checked import list_hashes, read_json, write_json
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
    raw = Path(known.torchvision_class) / "raw"
    home = next((home for home in data_homes() if not list_missing(home / name / raw, IDX_PREFIXES)), None)
    if home is None:
        expected = ", ".join(f"{prefix}-{{images-idx3,labels-idx1}}-ubyte[.gz]" for prefix in IDX_PREFIXES.values())
        _download(name, f"{expected} belong in {data_homes()[0] / name / raw}")
        home = download_home()
    _check_download(home / name, raw)
    images, labels, parts = read_idx_arrays(home / name / raw, IDX_PREFIXES)
    if labels.max() >= len(known.classes):
        raise DataError(
            f"{name} in {home / name} has the label {labels.max()}, and its classes are 0 to {len(known.classes) - 1}: "
            f"delete the folder, and download it again"
        )
    return build_array_dataset(name, images, labels, known.classes, parts)


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
    return build_file_dataset(name, root, files, np.asarray(labels), classes, np.asarray(parts, dtype="<U10"))


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
