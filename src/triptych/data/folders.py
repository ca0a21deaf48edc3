"""A folder of photos: one directory per class, or train, val and test directories of these."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from triptych.config.names import DATASET_NAMES
from triptych.data.hints import ARCHIVES, explain_locked, hint, shorten
from triptych.data.layouts import Layout, find_layout
from triptych.errors import DataError, suggest
from triptych.images.decoding import IMAGE_SUFFIXES
from triptych.images.walk import (
    BESIDE,
    CROSSING,
    LOCKED,
    LeftOut,
    classify,
    describe_endings,
    leads_back,
    list_folders,
    walk_images,
)

Parts = NDArray[np.str_]


@dataclass(frozen=True)
class ImageFolder:
    """The images of a folder.

    Attributes:
        files: the images, in order of part, class and name.
        labels: (n,) int64, indices into `classes`.
        classes: names of the class directories, sorted, in Unicode's composed form.
        parts: (n,) of "train", "validation" or "test", or None if the folder has no such directories.
        subfolders: (n,) the folder of each image that is directly below that of its class, or None.
        notes: how the folder was read, where that matters for the results.
        empty: class directories without images; only if these are allowed.
        left_out: the files and folders that are not read, and why.
    """

    files: list[Path]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    parts: Parts | None
    subfolders: tuple[str | None, ...]
    notes: tuple[str, ...]
    empty: tuple[Path, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def scan_folder(directory: Path, *, lenient: bool = False, nested: bool = False) -> ImageFolder:
    """Return the images of a folder by class and part, without decoding them.

    Args:
        directory: the folder.
        lenient: return class directories without images in `empty`, and folders that may not be read in `left_out`,
            instead of raising an error.
        nested: take folders for classes although all of them hold the same folders, such as days.

    Raises:
        DataError: there is no such folder, fewer than two classes, or a class without images.
    """
    _check_directory(directory)
    layout = find_layout(directory, nested=nested)
    classes, folders = _name_classes(directory, layout)
    files: list[Path] = []
    labels: list[int] = []
    parts: list[str] = []
    subfolders: list[str | None] = []
    empty: list[Path] = []
    left_out = _list_beside(directory, layout)
    for part in layout.tops:
        for label, name in enumerate(classes):
            folder = folders[part][name]
            walk = walk_images(folder, directory)
            if not walk.images:
                empty.append(folder)
            files += walk.images
            labels += [label] * len(walk.images)
            parts += [part] * len(walk.images)
            subfolders += [_find_subfolder(file, folder) for file in walk.images]
            left_out += walk.left_out
    locked = [one.path for one in left_out if one.reason == LOCKED]
    if not lenient:
        for path in locked[:1]:
            raise DataError(explain_locked(path))
        for folder in empty[:1]:
            raise DataError(explain_empty(folder))
    given = np.asarray(parts, dtype="<U10") if len(layout.tops) > 1 else None
    return ImageFolder(
        files,
        np.asarray(labels, dtype=np.int64),
        classes,
        given,
        tuple(subfolders),
        layout.notes,
        tuple(empty),
        tuple(left_out),
    )


def _check_directory(directory: Path) -> None:
    if directory.is_dir():
        return
    shown = str(directory)
    if directory.is_file():
        archive = directory.suffix.lower() in ARCHIVES
        kind = "an archive: unpack it" if archive else "a file: give a folder of images, or table:FILE"
        raise DataError(f"data {shown!r} is {kind}")
    raise DataError(
        f"data {shown!r} is neither a directory nor the name of a data set "
        f"({', '.join(DATASET_NAMES)}){suggest(directory.name, DATASET_NAMES)}"
    )


def explain_empty(directory: Path) -> str:
    """Return the error for a class directory without images, which says what other files it has."""
    others = describe_endings(walk_images(directory).left_out)
    has = f", but other files ({others})" if others else ""
    return (
        f"class {directory.name!r} has no images{has}: add some ({', '.join(IMAGE_SUFFIXES)}) to {directory}, "
        f"or remove the directory"
    )


def _find_subfolder(file: Path, folder: Path) -> str | None:
    places = file.relative_to(folder).parts
    return places[0] if len(places) > 1 else None


def _name_classes(directory: Path, layout: Layout) -> tuple[tuple[str, ...], dict[str, dict[str, Path]]]:
    """Return the class names, the same in every part, and the folder of each class in each part."""
    folders = {part: _name_folders(top) for part, top in layout.tops.items()}
    train = layout.tops["train"]
    classes = tuple(sorted(folders["train"]))
    for found in folders.values():
        if odd := sorted(set(found) ^ set(classes)):
            case = len({name.casefold() for name in odd}) < len(odd)
            raise DataError(
                f"class(es) {shorten(odd)} are not in every part of {directory}: all parts need the same classes"
                f"{', and some of these differ in upper and lower case only' if case else ''}"
            )
    if len(classes) < 2:
        remedy = hint(train) or "it needs a directory of images for each of at least two classes"
        raise DataError(f"{train} has {len(classes)} class(es) ({shorten(classes) or 'none'}): {remedy}")
    for name in map(os.fsencode, classes):
        if name.decode(errors="replace").encode() != name:
            raise DataError(f"the name of class {name!r} in {train} is not UTF-8: rename the folder")
    return classes, folders


def _name_folders(top: Path) -> dict[str, Path]:
    """Return the class folders by name, composed as Linux writes it: a Mac's archive has the other form of `café`.

    Two folders whose names differ in nothing else keep theirs.
    """
    names = list_folders(top)
    composed = Counter(normalize("NFC", name) for name in names)
    by_name = {name: normalize("NFC", name) for name in names}
    return {one if composed[one] == 1 else name: top / name for name, one in by_name.items()}


def find_twins(classes: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the classes whose names differ in nothing but case or the form of a letter.

    >>> find_twins(["Cat", "cat", "dog"])
    [('Cat', 'cat')]
    """
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(normalize("NFKC", name).casefold(), []).append(name)
    return [tuple(names) for names in alike.values() if len(names) > 1]


def describe_twins(names: Sequence[str]) -> str:
    """Return a warning for classes that `find_twins` found."""
    return (
        f"classes {' and '.join(map(ascii, names))} differ in case or in the form of a letter only: if they are one "
        f"class, merge their folders"
    )


def _list_beside(directory: Path, layout: Layout) -> list[LeftOut]:
    """Return what lies next to the folders of parts and classes."""
    found: list[LeftOut] = []
    for folder in layout.beside:
        images = [LeftOut(path, BESIDE, directory) for path in walk_images(folder).images]
        found += images or [LeftOut(folder, BESIDE, directory)]
    for top in dict.fromkeys([directory, *layout.between, *layout.tops.values()]):
        for path in sorted(top.iterdir()):
            reason = classify(path) or (CROSSING if leads_back(path) else "" if path.is_dir() else BESIDE)
            if reason:
                found.append(LeftOut(path, reason, directory))
    return found
