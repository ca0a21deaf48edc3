"""The columns of a table that say something about its images: found by their usual names, or named by a setting."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from triptych.data.tables.formats import show
from triptych.errors import DataError, suggest

# The usual names, without case, blanks and signs between words; those of a later line only if there is none of an
# earlier one.
USUAL_NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "path": (
        ("path", "file", "filename", "filepath", "imagepath", "imagefile", "imagefilename", "imagename", "imgpath"),
        ("image", "img", "photo", "picture", "imageid"),
    ),
    "label": (("label", "labelname", "class", "classname", "category", "categoryname", "target"),),
    "split": (("split", "part", "partition", "subset", "set", "phase"),),
    "group": (("group", "groupid"),),
    "weight": (("weight", "sampleweight", "imageweight"),),
}
REQUIRED = ("path", "label")
# The value of a setting that leaves a column out, whatever its name.
NO_COLUMN = "none"
SHOWN_COLUMNS = 10


def find_columns(file: Path, header: Sequence[str], named: Mapping[str, str]) -> dict[str, int]:
    """Return the index of each column that is there, by what it says: "path", "label", "split", "group", "weight".

    Args:
        file: the table, for errors.
        header: the names of its columns.
        named: the columns that settings name.

    Raises:
        DataError: a column is missing, is there twice, or may be one of several.

    >>> find_columns(Path("birds.csv"), ["id", "File Name", "species"], {"label": "species"})
    {'path': 1, 'label': 2}
    """
    double = [name for name, count in Counter(filter(None, header)).items() if count > 1]
    if double:
        raise DataError(f"{file} has the column {show(double[0])} twice: rename or remove one")
    found = {role: _find_column(file, header, role, named.get(role, "")) for role in USUAL_NAMES}
    return {role: index for role, index in found.items() if index is not None}


def _find_column(file: Path, header: Sequence[str], role: str, name: str) -> int | None:
    setting = f"data.{role}_column"
    if name == NO_COLUMN and role not in REQUIRED:
        return None
    if name:
        if name not in header:
            raise DataError(
                f"{setting}={name} is not a column of {file}, which has {_list(header)}{suggest(name, header)}"
            )
        return header.index(name)
    for usual in USUAL_NAMES[role]:
        candidates = [index for index, one in enumerate(header) if re.sub(r"[\W_]+", "", one.casefold()) in usual]
        if len(candidates) > 1:
            names = " and ".join(show(header[index]) for index in candidates)
            raise DataError(f"{file} has several columns that may be the {role}, {names}: choose one with {setting}")
        if candidates:
            return candidates[0]
    if role in REQUIRED:
        raise DataError(
            f"{file} has no column with the {role} of each image: its first line has to name one {role}, or {setting} "
            f"one of {_list(header)}"
        )
    return None


def _list(header: Sequence[str]) -> str:
    return ", ".join(map(show, header[:SHOWN_COLUMNS])) + (", ..." if len(header) > SHOWN_COLUMNS else "")
