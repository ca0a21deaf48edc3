"""The images of a table, in the order in which a folder would have them.

A table is a file, or a folder in the layout of Hugging Face's `imagefolder`: with `metadata.csv` in it, or in its
folders `train`, `validation` and `test`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.config.names import TABLE_SUFFIXES
from triptych.data.folders import Parts
from triptych.data.layouts import VAL_IS_TEST
from triptych.data.parts import name_part
from triptych.data.tables.formats import show
from triptych.data.tables.rows import Row, read_rows
from triptych.errors import DataError

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
GROUPS_UNUSED = "the table has a column of groups, which is not used: split.group_by=group keeps each group in one part"
WEIGHTS_USED = (
    "each training image has the weight in the loss that the table gives it; data.weight_column=none leaves them out"
)


@dataclass(frozen=True)
class ImageTable:
    """The images of a table.

    Attributes:
        name: that of the table, or of its folder.
        root: the folder that the paths are relative to.
        files: the images, in order of part, class and name.
        labels: (n,) int64, indices into `classes`.
        classes: the labels, sorted.
        parts: (n,) of "train", "validation" or "test", or None if the table does not say it.
        groups: (n,) the group of each image, empty for one that is by itself; None without such a column.
        weights: (n,) float64, positive, the weight of each image in the loss; None without such a column.
        notes: how the table was read, where that matters for the results.
    """

    name: str
    root: Path
    files: list[Path]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    parts: Parts | None
    groups: tuple[str, ...] | None
    weights: NDArray[np.float64] | None
    notes: tuple[str, ...]


def scan_table(path: Path, named: Mapping[str, str]) -> ImageTable:
    """Return the images of a table without decoding them.

    Args:
        path: the table, or a folder with `metadata.csv`, `metadata.jsonl` or `metadata.parquet`.
        named: the columns that settings name, by what they say: "path", "label", "split", "group" or "weight".

    Raises:
        DataError: there is no such table, or it cannot be used as it is.
    """
    rows: list[Row] = []
    said: set[str] = set()
    notes: list[str] = []
    for file, part in _find_tables(path):
        own, columns, remarks = read_rows(file, part, named)
        rows += own
        said |= columns
        notes += remarks
    rows = _sort(_drop_repeats(rows, notes))
    classes = tuple(sorted({row.label for row in rows}))
    _check_classes(path, rows, classes)
    index = {name: number for number, name in enumerate(classes)}
    return ImageTable(
        name=path.name,
        root=path if path.is_dir() else path.parent,
        files=[row.file for row in rows],
        labels=np.array([index[row.label] for row in rows], dtype=np.int64),
        classes=classes,
        parts=_arrange_parts(rows, notes),
        groups=tuple(row.group for row in rows) if "group" in said else None,
        weights=np.array([row.weight for row in rows], dtype=np.float64) if "weight" in said else None,
        notes=(*notes, *[GROUPS_UNUSED] * ("group" in said), *[WEIGHTS_USED] * ("weight" in said)),
    )


def _find_tables(path: Path) -> list[tuple[Path, str]]:
    """Return the tables, and for each the part that its folder is called after, or an empty text.

    Raises:
        DataError: the folder has none, or several of which one is meant.
    """
    if not path.is_dir():
        return [(path, "")]
    try:
        found = find_metadata(path)
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be read ({error.strerror}): allow it, or move it elsewhere"
        ) from error
    if not found:
        others = sorted(file for file in path.iterdir() if file.suffix.lower() in TABLE_SUFFIXES)
        hint = f"; did you mean table:{others[0]}?" if others else ""
        raise DataError(f"table:{path} is a folder without {' or '.join(METADATA)}: name the table itself{hint}")
    parts = [part for _, part in found]
    if len(set(parts)) < len(parts) or ("" in parts and len(parts) > 1):
        raise DataError(f"{' and '.join(str(file) for file, _ in found)} are tables of the same images: keep one")
    return found


def find_metadata(directory: Path) -> list[tuple[Path, str]]:
    """Return the tables in a folder and in those of its parts, as `_find_tables` does."""
    places = [(directory, ""), *((place, name_part(place.name)) for place in _list_folders(directory))]
    return [
        (place / name, part)
        for place, part in places
        if part is not None
        for name in METADATA
        if (place / name).is_file()
    ]


def has_only_metadata(directory: Path) -> bool:
    """Return whether the classes of a folder are in tables of metadata, and not in folders of classes."""
    try:
        parts = [folder for folder in _list_folders(directory) if name_part(folder.name)]
        return bool(find_metadata(directory)) and all(len(_list_folders(top)) < 2 for top in parts or [directory])
    except OSError:
        return False


def _list_folders(directory: Path) -> list[Path]:
    with os.scandir(directory) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _drop_repeats(rows: list[Row], notes: list[str]) -> list[Row]:
    """Return the rows without those that repeat another one, and add a note that counts these.

    Raises:
        DataError: one says something else of the same image.
    """
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(os.path.normpath(row.file), row)
        for role in ("label", "part", "group", "weight"):
            one, two = getattr(other, role), getattr(row, role)
            if one != two:
                name = {"part": "split"}.get(role, role)
                raise DataError(
                    f"{row.place} gives {show(row.file.name)} the {name} {show(str(two))}, but {other.place} gives it "
                    f"{show(str(one))}: keep one of the two"
                )
    if dropped := len(rows) - len(first):
        notes.append(f"{dropped:,} rows that repeat another one were dropped")
    return list(first.values())


def _sort(rows: list[Row]) -> list[Row]:
    """Return the rows in the order of a folder that has a folder for each part, and in it one for each class.

    The parts are in the order of their first files, except that a validation set that becomes the test set is last.
    """
    first: dict[str, tuple[bool, tuple[str, ...]]] = {}
    last = "" if any(row.part == "test" for row in rows) else "validation"
    for row in rows:
        place = (row.part == last, row.file.parts)
        first[row.part] = min(first.get(row.part, place), place)
    return sorted(rows, key=lambda row: (first[row.part], row.label, row.file.parts))


def _check_classes(path: Path, rows: list[Row], classes: tuple[str, ...]) -> None:
    if len(classes) < 2:
        raise DataError(f"{path} has one class, {show(classes[0])}: a comparison needs images of at least two")
    parts = {row.part for row in rows}
    if parts != {""} and "train" not in parts:
        raise DataError(
            f"{path} has the split {' and '.join(sorted(parts))}, but no train: add such rows, or leave the column out "
            f"with data.split_column=none"
        )
    present = {(row.part, row.label) for row in rows}
    for part in sorted(parts):
        for name in classes:
            if (part, name) not in present:
                raise DataError(
                    f"{path} has no image of class {show(name)} in the {part} set, and every class has to be in every "
                    f"part: add some, or remove the class"
                )


def _arrange_parts(rows: list[Row], notes: list[str]) -> Parts | None:
    """Return the part of each image as for a folder, and add a note if it is not simply what the table says."""
    parts = np.array([row.part for row in rows], dtype="<U10")
    present = set(parts.tolist())
    if present == {""}:
        return None
    if present == {"train"}:
        notes.append("there is only train: the test set is drawn from it")
        return None
    if "test" not in present:
        parts[parts == "validation"] = "test"
        notes.append(VAL_IS_TEST)
    return parts
