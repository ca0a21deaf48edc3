from __future__ import annotations

import re
from pathlib import Path

import pytest

from triptych.data.tables.columns import find_columns
from triptych.errors import DataError

FILE = Path("/data/birds.csv")
FOUND: dict[tuple[str, ...], dict[str, int]] = {
    ("path", "label"): {"path": 0, "label": 1},
    ("", "id", "File Name", "CLASS", "x-1"): {"path": 2, "label": 3},
    ("category", "image", "image_path"): {"path": 2, "label": 0},
    ("image_id", "target", "Subset"): {"path": 0, "label": 1, "split": 2},
    ("file_name", "label", "split", "group", "weight"): {"path": 0, "label": 1, "split": 2, "group": 3, "weight": 4},
}


@pytest.mark.parametrize("header", FOUND)
def test_columns_are_found_by_their_usual_names(header: tuple[str, ...]) -> None:
    assert find_columns(FILE, header, {}) == FOUND[header]


def test_columns_that_are_named_are_taken_and_none_leaves_one_out() -> None:
    header = ("path", "photo no.", "label", "species", "split", "weight", "nest")
    named = {"path": "photo no.", "label": "species", "split": "none", "group": "nest", "weight": "none"}
    assert find_columns(FILE, header, named) == {"path": 1, "label": 3, "group": 6}


# The header, the columns that settings name, and what the message says.
BAD: list[tuple[list[str], dict[str, str], str]] = [
    (
        ["a", "label"],
        {},
        r"no column with the path .*: its first line has to name one path, or data\.path_column .*'a'",
    ),
    (["ants/1.jpg", "ant"], {}, "no column with the path of each image: its first line has to name one path"),
    (["path", "species"], {}, r"no column with the label .* or data\.label_column one of 'path', 'species'"),
    (["path", "label", "x", "x"], {}, "has the column 'x' twice: rename or remove one"),
    (["path", "file", "label"], {}, r"may be the path, 'path' and 'file': choose one with data\.path_column"),
    (["path", "Label", "class"], {}, r"may be the label, 'Label' and 'class': choose one with data\.label_column"),
    (["path", "label", "set", "part"], {}, r"may be the split, 'set' and 'part': choose one with data\.split_column"),
    (["path", "species"], {"label": "specie"}, r"data\.label_column=specie is not .*; did you mean 'species'\?"),
    (["path", "label"], {"label": "none"}, r"data\.label_column=none is not a column of /data/birds\.csv"),
    (["path", "label"], {"group": "nest"}, r"data\.group_column=nest is not a column of .*, which has 'path', 'label'"),
]


@pytest.mark.parametrize(("header", "named", "message"), BAD)
def test_a_header_that_is_not_clear_is_refused(header: list[str], named: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        find_columns(FILE, header, named)
    assert str(FILE) in str(refused.value)


def test_a_wide_table_is_not_listed_whole() -> None:
    with pytest.raises(DataError) as refused:
        find_columns(FILE, [f"column {number}" * 100 for number in range(1000)], {})
    assert len(str(refused.value)) < 1500
    assert re.search(r", \.\.\.$", str(refused.value))
