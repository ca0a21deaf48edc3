from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from triptych.data.tables.formats import open_table
from triptych.errors import DataError

# The same rows in every format, with text that readers of tables like to change.
TEXTS = [("a.jpg", "01"), ("b,c.jpg", "NA"), ("d.jpg", "None"), ("e.jpg", '=1+1 "é"')]
CSV = 'path,label\r\na.jpg,01\r\n\r\n"b,c.jpg",NA\r\n,\r\nd.jpg,None\r\ne.jpg, "=1+1 ""é"""\r\n'
JSON = (
    '{"path": "a.jpg", "label": "01"}\n{"label": "NA", "path": "b,c.jpg"}\n\n'
    '{"path": "d.jpg", "label": "None"}\n{"path": "e.jpg", "label": "=1+1 \\"\\u00e9\\""}'
)
ROWS: dict[str, tuple[str, list[int]]] = {
    "a.csv": (CSV, [2, 4, 6, 7]),
    "bom.csv": (f"\ufeff{CSV}", [2, 4, 6, 7]),
    "semicolons.CSV": (CSV.replace(",", ";").replace("b;c", "b,c"), [2, 4, 6, 7]),
    "tabs.csv": (CSV.replace(",", "\t").replace("b\tc", "b,c"), [2, 4, 6, 7]),
    "a.tsv": (CSV.replace(",", "\t").replace("b\tc", "b,c"), [2, 4, 6, 7]),
    "old-mac.csv": (CSV.replace("\r\n", "\r"), [2, 4, 6, 7]),
    "a.jsonl": (JSON, [1, 2, 4, 5]),
    "bom.jsonl": (f"\ufeff{JSON}", [1, 2, 4, 5]),
}


def read_everything(file: Path) -> tuple[tuple[str, ...], list[tuple[int, tuple[Any, ...]]]]:
    table = open_table(file)
    return table.header, [(number, tuple(cells)) for number, cells in table.read(range(len(table.header)))]


@pytest.mark.parametrize("name", ROWS)
def test_text_stays_what_it_is_and_a_row_has_the_number_of_its_line(name: str, tmp_path: Path) -> None:
    content, lines = ROWS[name]
    (tmp_path / name).write_bytes(content.encode())
    assert read_everything(tmp_path / name) == (("path", "label"), list(zip(lines, TEXTS, strict=True)))


def test_parquet_is_read_as_it_is_with_columns_of_any_name(tmp_path: Path) -> None:
    # A folder called split=train adds no column.
    (tmp_path / "split=train").mkdir()
    file = tmp_path / "split=train" / "a.parquet"
    paths, labels = zip(*TEXTS, strict=True)
    pq.write_table(pa.table({"file.name": paths, "label": pa.array(labels).dictionary_encode()}), file)
    assert read_everything(file) == (("file.name", "label"), list(enumerate(TEXTS, 1)))


def test_numbers_in_json_are_read_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"path": "a.jpg", "label": 1.10, "weight": 12345678901234567890}\n{"label": null}'
    )
    header, rows = read_everything(tmp_path / "a.jsonl")
    assert header == ("path", "label", "weight")
    assert rows == [(1, ("a.jpg", "1.10", "12345678901234567890")), (2, (None, None, None))]


# The name of a table, its content, and what the message says.
BAD: dict[str, tuple[str, bytes, str]] = {
    "another format": ("a.xlsx", b"PK", r"ending '\.xlsx': save it as \.csv, \.tsv, \.parquet or \.jsonl"),
    "nothing in it": ("a.csv", b"", "is empty"),
    "only a mark": ("a.csv", b"\xef\xbb\xbf\n \n", "is empty"),
    "no lines of JSON": ("a.jsonl", b"\n", "is empty"),
    "Latin-1": ("a.csv", "path,label\na.jpg,ant\nb.jpg,b\xeae\n".encode("latin-1"), "line 3, is not UTF-8: save"),
    "UTF-16": ("a.csv", "path,label\n".encode("utf-16"), "line 1, is not UTF-8: save"),
    "JSON in Latin-1": ("a.jsonl", '{"label": "\xea"}'.encode("latin-1"), "line 1, is not UTF-8"),
    "too few cells": ("a.csv", b'path,label,split\n"a\n.jpg",b,c\na.jpg,b\n', "line 4 has 2 cells, but the first .* 3"),
    "too many cells": ("a.csv", b"path,label\na.jpg,b,c\n", "line 2 has 3 cells, but the first line has 2: complete"),
    "an open quote": ("a.csv", b'path,label\na.jpg,"b\nc.jpg,d\n', r"line 2 has a quote that is not closed"),
    "an open quote and much text": (
        "a.csv",
        b'path,label\na.jpg,"b' + b"x" * 200_000,
        "line 2 has a quote that is not",
    ),
    "a quote inside": ("a.csv", b'path,label\na.jpg,"b"c\n', r"line 2 has a quote that is .* not doubled"),
    "a line cut off": (
        "a.jsonl",
        b'{"path": "a.jpg"}\n{"path": "b',
        r"line 2 is not JSON .*: write one object in each",
    ),
    "deep JSON": ("a.jsonl", b"[" * 100_000, "line 1 is not JSON"),
    "a list of objects": ("a.jsonl", b'[{"path": "a.jpg"}]', "line 1 is no JSON object: write one in each line"),
    "a name twice": ("a.jsonl", b'{"label": "a", "label": "b"}', "line 1 has 'label' twice: keep one"),
    "text as Parquet": ("a.parquet", b"path,label\n", r"is not a sound Parquet file \(.*\): write it again"),
    "an empty Parquet": ("a.parquet", b"", "is not a sound Parquet file"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_table_that_cannot_be_read_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    name, content, message = BAD[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as refused:
        read_everything(tmp_path / name)
    assert "\n" not in str(refused.value)
    assert str(tmp_path / name) in str(refused.value)


def test_a_damaged_parquet_is_refused_whatever_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"path": ["a.jpg"] * 50, "label": ["a", "b"] * 25}), file)
    content = file.read_bytes()
    for place in range(4, len(content), 7):
        file.write_bytes(content[:place] + b"\xff\xff\xff" + content[place + 3 :])
        try:
            read_everything(file)
        except DataError as error:
            assert "is not a sound Parquet file" in str(error)  # noqa: PT017 - some bytes don't matter
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="is not a sound Parquet file"):
        read_everything(file)


@pytest.mark.parametrize(("name", "problem"), [("gone.csv", "does not exist"), ("folder.csv", "is not a file")])
def test_what_is_no_file_is_refused(name: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=f"the table .*{name} {problem}: name a .csv, "):
        open_table(tmp_path / name)
