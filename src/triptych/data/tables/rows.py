"""The rows of a table, understood and checked: an image file, its label, and what else the table says of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

from triptych.data.parts import name_part
from triptych.data.tables.columns import find_columns
from triptych.data.tables.formats import open_table, show
from triptych.data.tables.paths import explain_missing, find_file
from triptych.errors import DataError
from triptych.images.decoding import IMAGE_SUFFIXES

# The weights that single precision has room for.
LEAST_WEIGHT, MOST_WEIGHT = 1e-30, 1e30
ADDRESS = re.compile(r"(?i)[a-z][a-z0-9+.-]+://|data:")
# What pandas writes for a list.
WRITTEN_LIST = re.compile(r"""\[(['"]).*\1]""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """An image of a table.

    Attributes:
        file: the image.
        label: its class.
        part: "train", "validation" or "test"; empty if the table does not say it.
        group: its group; empty if it has none.
        weight: its weight in the loss; 1 if the table does not say it.
        cells: the table that it is from.
        position: where it is in `cells`, from 0.
    """

    file: Path
    label: str
    part: str
    group: str
    weight: float
    cells: Cells
    position: int

    @property
    def place(self) -> str:
        """The table and the number of the row, for messages."""
        return self.cells.place(self.position)


@dataclass(frozen=True)
class Cells:
    """The text of a table that is used.

    Attributes:
        file: the table.
        unit: what rows are counted in, "line" or "row".
        numbers: the number of each row.
        columns: by what it says, the text of each column that is there, without blanks around it; paths as they are.
    """

    file: Path
    unit: str
    numbers: list[int]
    columns: dict[str, list[str]]

    def place(self, index: int) -> str:
        """Return the table and the number of a row, for messages."""
        return f"{self.file}, {self.unit} {self.numbers[index]}"

    def refuse(self, wrong: Callable[[str], bool], role: str, problem: Callable[[str], str]) -> None:
        """Raise if some cells of a column are wrong, with the first one and the number of the others."""
        column = self.columns[role]
        bad = [index for index, text in enumerate(column) if wrong(text)]
        if bad:
            others = f" and {len(bad) - 1:,} more" if bad[1:] else ""
            raise DataError(f"{self.place(bad[0])}{others}: {problem(column[bad[0]])}")


def read_rows(file: Path, part: str, named: Mapping[str, str]) -> tuple[list[Row], set[str], list[str]]:
    """Return the images of a table, what the table says beside paths and labels, and notes on how it was read.

    Args:
        file: the table; paths are relative to its folder.
        part: the part that its images are in, if its folder says so, else empty.
        named: the columns that settings name.

    Raises:
        DataError: the table cannot be read, or a cell is empty or wrong.
    """
    cells, notes = _read_cells(file, named)
    if not cells.numbers:
        raise DataError(f"the table {file} has no rows: add one per image")
    cells.refuse(
        lambda text: not text.strip(), "path", lambda text: f"the path is empty: fill it in, or remove the {cells.unit}"
    )
    cells.refuse(
        lambda text: not text, "label", lambda text: f"the label is empty: fill it in, or remove the {cells.unit}"
    )
    cells.refuse(_is_written_list, "label", _explain_list)
    cells.refuse(
        _is_address, "path", lambda text: f"{show(text)} is an address: download the images, and name the files"
    )
    count = len(cells.numbers)
    files, labels, parts = _find_files(cells), cells.columns["label"], _read_parts(cells, part)
    groups, weights = cells.columns.get("group", [""] * count), _read_weights(cells)
    rows = zip(files, labels, parts, groups, weights, [cells] * count, range(count), strict=True)
    return [Row(*row) for row in rows], set(cells.columns), notes


def _read_cells(file: Path, named: Mapping[str, str]) -> tuple[Cells, list[str]]:
    """Return the text of the columns that are used, and a note if blanks were removed from labels."""
    table = open_table(file)
    found = find_columns(file, table.header, named)
    cells = Cells(file, table.unit, [], {role: [] for role in found})
    trimmed = 0
    with closing(table.read(list(found.values()))) as rows:  # type: ignore[type-var]
        for number, values in rows:
            cells.numbers.append(number)
            try:
                for role, value in zip(found, values, strict=True):
                    text = _to_text(role, value)
                    cells.columns[role].append(text if role == "path" else normalize("NFC", text.strip()))
                    trimmed += role == "label" and text != text.strip()
            except DataError as error:
                raise DataError(f"{cells.place(-1)}: {error}") from error
    return cells, [f"blanks around {trimmed:,} labels of {file.name} were removed"] if trimmed else []


def _to_text(role: str, value: Any) -> str:
    """Return a cell as text; one that is missing as an empty text.

    Raises:
        DataError: it is a list or an object, or holds what no name may hold.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | tuple | set):
        raise DataError(_explain_list(str(value)) if role == "label" else f"the {role} is a list: give one {role}")
    if isinstance(value, dict | bytes):
        kind = "an image or another object" if isinstance(value, dict) else "bytes"
        raise DataError(f"the {role} is {kind}, not text: save the images as files, and name these")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"the {role} {show(text)} is not Unicode: correct it") from None
    if "\0" in text:
        raise DataError(f"the {role} {show(text)} holds a NUL: remove it")
    return text


def _is_written_list(text: str) -> bool:
    return bool(WRITTEN_LIST.fullmatch(text))


def _explain_list(text: str) -> str:
    return f"the label {show(text)} is a list, but each image has to have one class: give one label"


def _is_address(text: str) -> bool:
    return bool(ADDRESS.match(text))


def _find_files(cells: Cells) -> list[Path]:
    """Return the file of each path.

    Raises:
        DataError: one does not exist, or is not an image by its ending.
    """
    root = cells.file.parent
    files = {text: find_file(root, text) for text in cells.columns["path"]}
    cells.refuse(lambda text: files[text] is None, "path", lambda text: explain_missing(root, text))
    found = [file for text in cells.columns["path"] if (file := files[text]) is not None]
    endings = ", ".join(IMAGE_SUFFIXES)
    cells.refuse(
        lambda text: not text.strip().lower().endswith(IMAGE_SUFFIXES),
        "path",
        lambda text: f"{show(text)} has no ending of an image ({endings}): convert it, or remove the {cells.unit}",
    )
    return found


def _read_parts(cells: Cells, part: str) -> Sequence[str]:
    """Return the part of each image, by the folder of the table or by a column.

    Raises:
        DataError: a value is none of the parts, or differs from what the folder says.
    """
    if "split" not in cells.columns:
        return [part] * len(cells.numbers)
    names = "train, val or test"
    remedy = "correct it, or leave the column out with data.split_column=none"
    found = {text: name_part(text) for text in set(cells.columns["split"])}
    cells.refuse(
        lambda text: found[text] is None, "split", lambda text: f"the split {show(text)} is not {names}: {remedy}"
    )
    cells.refuse(
        lambda text: found[text] != (part or found[text]),
        "split",
        lambda text: f"the split {show(text)} is not that of the folder {cells.file.parent.name}: {remedy}",
    )
    return [found[text] or "" for text in cells.columns["split"]]


def _read_weights(cells: Cells) -> Sequence[float]:
    """Return the weight of each image.

    Raises:
        DataError: one is no positive number.
    """
    if "weight" not in cells.columns:
        return [1.0] * len(cells.numbers)
    cells.refuse(
        lambda text: not LEAST_WEIGHT <= _to_number(text) <= MOST_WEIGHT,
        "weight",
        lambda text: (
            f"the weight {show(text)} is no number from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}: correct it, or leave the "
            f"column out with data.weight_column=none"
        ),
    )
    return [_to_number(text) for text in cells.columns["weight"]]


def _to_number(text: str) -> float:
    """Return a number, or NaN if a text is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
