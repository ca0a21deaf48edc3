"""Labelled images from whatever source a configuration names, with the hash that identifies them."""

from __future__ import annotations

import hashlib
import os
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.config.names import DATASETS, LAYOUT_NAMES
from triptych.data.folders import ImageFolder, Parts, scan_folder
from triptych.data.tables.scan import find_metadata, has_only_metadata, scan_table
from triptych.errors import DataError, suggest
from triptych.images.pixels import Pixels
from triptych.images.sources import ArrayImages, FileImages, ImageSource, read_state
from triptych.images.walk import LeftOut
from triptych.system.checked import hash_file

# The function that reads each layout of `data.source`, as "module:function": those modules import this one.
LAYOUTS = {"idx": "triptych.data.idx:load_idx_directory", "folder": "triptych.data.datasets:load_folder"}
# What is checked of a layout before anything is started.
EARLY_CHECKS = {"idx": "triptych.data.idx:check_idx_directory"}
# In place of the hash of a file that cannot be read.
UNREADABLE = bytes(hashlib.sha256().digest_size)


@dataclass(frozen=True)
class Dataset:
    """Labelled images before any split.

    Attributes:
        name: of the data set, or of its folder.
        images: the raw images, each (height, width, channels) uint8.
        labels: (n,) int64, indices into `classes`.
        classes: the class names.
        parts: (n,) of "train", "validation" or "test" if the data set comes with a split of its own, else None.
        digest: SHA-256 of the images, labels, class names, parts, groups and weights, hexadecimal.
        root: the folder that the file names are relative to, as far as the files lie in it; None for arrays.
        notes: how the data was read, where that matters for the results.
        grows: whether images may be added or removed from one day to the next, as in a folder.
        subfolders: (n,) the folder of each image directly below that of its class, or None; empty without folders.
        left_out: the files and folders that were not read, and why.
        groups: (n,) the group of each image, empty for one that is by itself; None if the data set has no groups.
        weights: (n,) float64, positive, the weight of each image in the loss; None if the data set has no weights.
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
    groups: tuple[str, ...] | None = None
    weights: NDArray[np.float64] | None = None


def fetch_dataset(source: str, *, nested: bool = False, columns: Mapping[str, str] | None = None) -> Dataset:
    """Return the data set that a `data.source` names, downloaded if it is missing.

    Args:
        source: a name, or a layout and a path.
        nested: take the folders in a folder for classes although all of them hold the same folders, such as days.
        columns: the columns of a table that settings name, by what they say.

    Raises:
        DataError: the name is unknown, files are missing and cannot be downloaded, or they are damaged.

    >>> digits = fetch_dataset("digits")
    >>> len(digits.images), digits.images[0].shape, digits.labels[:3].tolist()
    (1797, (8, 8, 1), [0, 1, 2])
    """
    layout, path = _find_layout(source)
    if is_table(layout, path):
        return load_table(path, columns or {})
    if columns:
        raise DataError(f"data.{next(iter(columns))}_column names a column, but {source} is no table: leave it out")
    if layout == "folder":
        return load_folder(path, nested=nested)
    if layout:
        load: Callable[[Path], Dataset] = pkgutil.resolve_name(LAYOUTS[layout])
        return load(path)
    fetch: Callable[[str], Dataset] = pkgutil.resolve_name(DATASETS[source].function)
    return fetch(source)


def check_source(source: str, *, nested: bool = False, columns: Mapping[str, str] | None = None) -> None:
    """Check, without reading images, that data are where a `data.source` says, how a folder is laid out, and a table.

    Args:
        source: a name, or a layout and a path.
        nested: as for `fetch_dataset`.
        columns: as for `fetch_dataset`.

    Raises:
        DataError: the name is unknown, nothing is there, a folder is laid out in another way, or a table is unclear.
    """
    layout, path = _find_layout(source)
    if is_table(layout, path):
        scan_table(path, columns or {})
    elif layout == "folder":
        scan_folder(path, nested=nested)
    elif layout and not path.exists():
        raise DataError(f"{source} does not exist: check the path")
    elif layout in EARLY_CHECKS:
        check: Callable[[Path], None] = pkgutil.resolve_name(EARLY_CHECKS[layout])
        check(path)


def require_two_classes(classes: Sequence[str]) -> None:
    """Check that a data set has more than one class.

    Raises:
        DataError: it has not.
    """
    if len(classes) < 2:
        raise DataError(f"all images are of one class ({', '.join(classes)}): a comparison needs images of two or more")


def _find_layout(source: str) -> tuple[str, Path]:
    """Return the layout and the path of a source; no layout for a data set that has a name.

    Raises:
        DataError: the name is unknown.
    """
    layout, _, path = source.partition(":")
    if path and layout in LAYOUT_NAMES:
        return layout, Path(path)
    if source in DATASETS:
        return "", Path()
    names = [*DATASETS, *(f"{layout}:DIR" for layout in LAYOUTS), "table:FILE"]
    raise DataError(f"unknown data set {source!r}: choose one of {', '.join(names)}{suggest(source, names)}")


def is_table(layout: str, path: Path) -> bool:
    """Return whether data is read as a table: it is called one, or a folder's classes are in its metadata only."""
    return layout == "table" or (layout == "folder" and has_only_metadata(path))


def load_table(path: Path, columns: Mapping[str, str]) -> Dataset:
    """Return the data set of a table, or of a folder with `metadata.csv`.

    Raises:
        DataError: the table cannot be used as it is.
    """
    found = scan_table(path, columns)
    named = build_file_dataset(found.name, found.root, found.files, found.labels, found.classes, found.parts)
    digest = _add_to_digest(named.digest, found.groups, found.weights)
    return replace(named, digest=digest, notes=found.notes, grows=True, groups=found.groups, weights=found.weights)


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
    named = build_file_dataset(directory.name, directory, found.files, found.labels, found.classes, found.parts)
    unread = [f"{file.name} was not read: table:{directory} reads it" for file, _ in find_metadata(directory)[:1]]
    notes = (*found.notes, *unread)
    return replace(named, notes=notes, grows=True, subfolders=found.subfolders, left_out=found.left_out)


def name_file(file: Path, root: Path) -> str:
    """Return the name of an image file in its data set: relative to the root, or absolute where it lies elsewhere.

    >>> name_file(Path("/birds/owl/1.jpg"), Path("/birds")), name_file(Path("/scans/2.jpg"), Path("/birds"))
    ('owl/1.jpg', '/scans/2.jpg')
    """
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


def build_array_dataset(
    name: str, images: Pixels, labels: NDArray[Any], classes: tuple[str, ...], parts: Parts | None = None
) -> Dataset:
    """Return images of one size, (n, height, width, channels) uint8, as a data set."""
    targets = labels.astype(np.int64)
    pieces = [repr(images.shape).encode(), np.ascontiguousarray(images).data]
    digest = _hash(pieces, targets, classes, parts)
    return Dataset(name, ArrayImages(images), targets, classes, parts, digest)


def build_file_dataset(
    name: str,
    root: Path,
    files: list[Path],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    parts: Parts | None,
) -> Dataset:
    """Return image files as a data set; one that cannot be read is reported where it is decoded.

    Args:
        name: of the data set.
        root: the folder that the names of the files are relative to.
        files: the images.
        labels: (n,) int64, indices into `classes`.
        classes: the class names.
        parts: (n,) of "train", "validation" or "test"; None if the data set has none.
    """
    states = tuple(map(read_state, files))  # before they are hashed: a later change is seen
    identities = tuple(map(_identify, files))
    names = (os.fsencode(name_file(file, root)) for file in files)
    pieces = (piece for named in zip(names, identities, strict=True) for piece in named)
    digest = _hash(pieces, labels, classes, parts)
    return Dataset(name, FileImages(tuple(files), identities, states), labels, classes, parts, digest, root)


def _identify(file: Path) -> bytes:
    """Return the SHA-256 of a file; one that no file has if it cannot be read."""
    try:
        return hash_file(file)
    except OSError:
        return UNREADABLE


def _hash(pieces: Any, labels: NDArray[np.int64], classes: tuple[str, ...], parts: Parts | None) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    digest.update(labels.tobytes())
    digest.update("\0".join(classes).encode())
    if parts is not None:
        digest.update("\0".join(parts.tolist()).encode())
    return digest.hexdigest()


def _add_to_digest(digest: str, groups: tuple[str, ...] | None, weights: NDArray[np.float64] | None) -> str:
    """Return the digest of a data set with its groups and weights, if it has any."""
    if groups is None and weights is None:
        return digest
    added = repr((digest, groups, None if weights is None else weights.tolist()))
    return hashlib.sha256(added.encode()).hexdigest()
