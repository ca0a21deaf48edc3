"""The formats of tables: what is read from a file before any cell is understood.

Nothing is guessed: `01` stays `01`, and `NA` is text. pandas isn't used, because it fills rows that are too short,
renames columns that are there twice, and doesn't know the line of a row.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from triptych.config.names import TABLE_SUFFIXES
from triptych.errors import DataError

# The one that the first line has most of; of equals, the first.
SEPARATORS = {".csv": ",;\t", ".tsv": "\t,;"}
ROWS_READ_AT_ONCE = 10_000
SHOWN_CHARACTERS = 80

# The number of each row in its file, and its cells.
Rows = Iterator[tuple[int, Sequence[Any]]]


class Table(NamedTuple):
    """A table whose rows are not read yet.

    Attributes:
        header: the names of the columns.
        unit: what rows are counted in: "line" as in an editor, or "row".
        read: returns the rows that are not blank, with the cells of the columns that it is called with.
    """

    header: tuple[str, ...]
    unit: str
    read: Callable[[Sequence[int]], Rows]


def open_table(file: Path) -> Table:
    """Return the table of a file.

    Raises:
        DataError: there is no such file, it has another format or is damaged, or it is empty.
    """
    with _refusing_bad_text(file):
        problem = "" if file.is_file() else "is not a file" if file.exists() else "does not exist"
    if problem:
        raise DataError(f"the table {file} {problem}: name a {_list_suffixes()} file, or a folder with metadata.csv")
    if file.suffix.lower() not in FORMATS:
        raise DataError(f"the table {file} has the ending {file.suffix!r}: save it as {_list_suffixes()}")
    table = FORMATS[file.suffix.lower()](file)
    if not table.header:
        raise DataError(f"the table {file} is empty: it needs a line with the names of its columns, and one per image")
    return table


def _list_suffixes() -> str:
    *most, last = TABLE_SUFFIXES
    return f"{', '.join(most)} or {last}"


@contextmanager
def _refusing_bad_text(file: Path) -> Iterator[None]:
    """Turn the errors of reading a file of text into errors that say what to do."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{file}{_find_bad_byte(file)} is not UTF-8: save the table as UTF-8") from error
    except OSError as error:
        raise DataError(f"the table {file} cannot be read ({error.strerror}): give it another place or mode") from error


def _find_bad_byte(file: Path) -> str:
    content = file.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f", line {line},"
    return ""


def _open_separated(file: Path) -> Table:
    parsed = _parse_separated(file)
    _, header = next(parsed, (0, []))

    def read(wanted: Sequence[int]) -> Rows:
        for line, cells in parsed:
            if len(cells) != len(header):
                raise DataError(
                    f"{file}, line {line} has {len(cells)} cells, but the first line has {len(header)}: complete it, "
                    f'and put text with a separator in it in quotes, as "a, b"'
                )
            yield line, [cells[index] for index in wanted]

    return Table(tuple(name.strip() for name in header), "line", read)


def _parse_separated(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line, and the cells, of every row that is not blank, the header first."""
    line = 1
    with _refusing_bad_text(file), file.open(encoding="utf-8-sig", newline="") as stream:
        first = next((text for text in stream if text.strip()), "")
        separator = max(SEPARATORS[file.suffix.lower()], key=first.count)
        stream.seek(0)
        rows = csv.reader(stream, delimiter=separator, skipinitialspace=True, strict=True)
        try:
            for cells in rows:
                if any(map(str.strip, cells)):
                    yield line, cells
                line = rows.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{file}, line {line} has a quote that is not closed or not doubled ({error}): correct its quotes"
            ) from error


def _open_lines_of_json(file: Path) -> Table:
    records: list[tuple[int, dict[str, Any]]] = []
    with _refusing_bad_text(file), file.open(encoding="utf-8-sig") as stream:
        for line, text in enumerate(stream, 1):
            if text.strip():
                records.append((line, _parse_object(text, f"{file}, line {line}")))
    header = dict.fromkeys(name for _, record in records for name in record)
    names = list(header)

    def read(wanted: Sequence[int]) -> Rows:
        for line, record in records:
            yield line, [record.get(names[index]) for index in wanted]

    return Table(tuple(names), "line", read)


def _parse_object(text: str, place: str) -> dict[str, Any]:
    """Return a line's object, its numbers as they are written.

    Raises:
        DataError: it is something else, or has a name twice.
    """

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        collected = dict(pairs)
        if len(collected) < len(pairs):
            names = [name for name, _ in pairs]
            double = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{place} has {show(double)} twice: keep one")
        return collected

    try:
        value = json.loads(
            text, parse_int=str, parse_float=str, parse_constant=lambda name: None, object_pairs_hook=collect
        )
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON ({error}): write one object in each line") from error
    if not isinstance(value, dict):
        raise DataError(f'{place} is no JSON object: write one in each line, as {{"file_name": "a.jpg", "label": "a"}}')
    return value


def _open_parquet(file: Path) -> Table:
    with _refusing_damaged_parquet(file):
        from pyarrow.parquet import ParquetFile

        with ParquetFile(file) as opened:
            names = opened.schema_arrow.names

    def read(wanted: Sequence[int]) -> Rows:
        columns = [names[index] for index in wanted]
        number = 0
        with _refusing_damaged_parquet(file), ParquetFile(file) as opened:
            for batch in opened.iter_batches(ROWS_READ_AT_ONCE, columns=columns, use_threads=False):
                for cells in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                    number += 1
                    yield number, cells

    return Table(tuple(names), "row", read)


@contextmanager
def _refusing_damaged_parquet(file: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        # Damaged files raise almost any error in Arrow's reader, from OSError to UnicodeDecodeError.
        reason = " ".join(str(error).split())[:SHOWN_CHARACTERS]
        raise DataError(f"the table {file} is not a sound Parquet file ({reason}): write it again") from error


def show(text: str) -> str:
    """Return a text in quotes, cut if it is long, for messages."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}...")


FORMATS: dict[str, Callable[[Path], Table]] = {
    ".csv": _open_separated,
    ".tsv": _open_separated,
    ".parquet": _open_parquet,
    ".jsonl": _open_lines_of_json,
}
