"""A folder of photos: one directory per class, or train, val and test directories of these."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.config.names import DATASET_NAMES
from triptych.errors import DataError, suggest
from triptych.images.decoding import IMAGE_SUFFIXES

Parts = NDArray[np.str_]

PART_OF_DIRECTORY = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "training": "train",
    "testing": "test",
}
# Left behind by archives made on macOS.
IGNORED_DIRECTORIES = ("__MACOSX",)
VAL_IS_TEST = "val/ is used as the test set, as there is no test/; the validation set is drawn from train/"


@dataclass(frozen=True)
class ImageFolder:
    """The images of a folder.

    Attributes:
        files: the images, in order of part, class and name.
        labels: (n,) int64, indices into `classes`.
        classes: names of the class directories, sorted.
        parts: (n,) of "train", "validation" or "test", or None if the folder has no such directories.
        notes: how the folder was read, where that matters for the results.
        empty: class directories without images; only if these are allowed.
    """

    files: list[Path]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    parts: Parts | None
    notes: tuple[str, ...]
    empty: tuple[Path, ...] = ()


def scan_folder(directory: Path, *, allow_empty: bool = False) -> ImageFolder:
    """Return the images of a folder by class and part, without decoding them.

    Args:
        directory: the folder.
        allow_empty: return class directories without images in `empty` instead of raising an error.

    Raises:
        DataError: there is no such folder, fewer than two classes, or a class without images.
    """
    if not directory.is_dir():
        raise DataError(
            f"data {str(directory)!r} is neither a directory nor the name of a data set "
            f"({', '.join(DATASET_NAMES)}){suggest(directory.name, DATASET_NAMES)}"
        )
    tops, notes = _find_parts(directory)
    classes = _name_classes(tops)
    files: list[Path] = []
    labels: list[int] = []
    parts: list[str] = []
    skipped: list[str] = []
    empty: list[Path] = []
    for part, top in tops.items():
        for label, name in enumerate(classes):
            images, others = _list_images(top / name)
            if not images:
                empty.append(top / name)
            files += images
            labels += [label] * len(images)
            parts += [part] * len(images)
            skipped += [file.relative_to(directory).as_posix() for file in others]
    if empty and not allow_empty:
        raise DataError(explain_empty(empty[0]))
    if skipped:
        notes += [f"skipped {len(skipped)} file(s) without an image's suffix: {', '.join(skipped[:3])}"]
    given = np.asarray(parts, dtype="<U10") if len(tops) > 1 else None
    return ImageFolder(files, np.asarray(labels, dtype=np.int64), classes, given, tuple(notes), tuple(empty))


def explain_empty(directory: Path) -> str:
    """Return the error for a class directory without images."""
    return (
        f"class {directory.name!r} has no images: add some ({', '.join(IMAGE_SUFFIXES)}) to {directory}, "
        f"or remove the directory"
    )


def _find_parts(directory: Path) -> tuple[dict[str, Path], list[str]]:
    """Return for each part the directory of its classes, and notes on how the parts were read."""
    tops: dict[str, Path] = {}
    others = []
    for name in _list_directories(directory):
        part = PART_OF_DIRECTORY.get(name.lower())
        if part in tops:
            raise DataError(f"{tops[part]} and {directory / name} are both the {part} set: keep one")
        if part:
            tops[part] = directory / name
        else:
            others.append(name)
    if not tops:
        return {"train": directory}, []
    if "train" not in tops:
        raise DataError(f"{directory} has {', '.join(top.name for top in tops.values())} but no train: add one")
    if others:
        raise DataError(f"{directory} has {', '.join(others)} next to train, val or test: move them elsewhere")
    if "validation" in tops and "test" not in tops:
        return {"train": tops["train"], "test": tops["validation"]}, [VAL_IS_TEST]
    if len(tops) == 1:
        return tops, ["there is only train/: the test set is drawn from it"]
    return tops, []


def _name_classes(tops: dict[str, Path]) -> tuple[str, ...]:
    """Return the class names, the same in every part."""
    found = {top: _list_directories(top) for top in tops.values()}
    classes = found[tops["train"]]
    for top, names in found.items():
        if names != classes:
            odd = ", ".join(sorted(set(names) ^ set(classes)))
            raise DataError(f"class(es) {odd} are not in every part of {top.parent}: all parts need the same classes")
    if len(classes) < 2:
        names_found = ", ".join(classes) or "none"
        raise DataError(
            f"{tops['train']} has {len(classes)} class(es) ({names_found}): "
            f"it needs a directory of images for each of at least two classes"
        )
    for name in map(os.fsencode, classes):
        if name.decode(errors="replace").encode() != name:
            raise DataError(f"the name of class {name!r} in {tops['train']} is not UTF-8: rename the folder")
    return classes


def _list_directories(top: Path) -> tuple[str, ...]:
    names = [child.name for child in top.iterdir() if child.is_dir() and not child.name.startswith(".")]
    return tuple(sorted(name for name in names if name not in IGNORED_DIRECTORIES))


def _list_images(directory: Path) -> tuple[list[Path], list[Path]]:
    """Return the images in a class directory and its subdirectories, and the other files."""
    files = sorted(file for file in directory.rglob("*") if file.is_file() and not file.name.startswith("."))
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    return images, [file for file in files if file.suffix.lower() not in IMAGE_SUFFIXES]
