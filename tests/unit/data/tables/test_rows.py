from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from triptych.data.tables.rows import read_rows
from triptych.errors import DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    for name in ("a1.png", "b1.png"):
        Image.new("RGB", (4, 4)).save(folder / name)
    return folder


OBJECTS = {
    '{"path": "a1.png", "label": ["a", "b"]}': r"line 1: the label .* is a list, but each image has to have one class",
    '{"path": ["a1.png"], "label": "a"}': "line 1: the path is a list: give one path",
    '{"path": {"bytes": ""}, "label": "a"}': "line 1: the path is an image or another object, not text: save",
    '{"path": "a1.png"}\n{"path": "b1.png", "label": "b"}': "line 1: the label is empty",
    '{"path": "a1.png", "label": null}': "line 1: the label is empty",
    '{"path": "a1.png", "label": NaN}': "line 1: the label is empty",
    '{"path": "a1.png", "label": "\\ud800"}': r"line 1: the label '\\ud800' is not Unicode: correct it",
    '{"path": "a1.png", "label": "a", "weight": true}': "line 1: the weight 'True' is no number",
}


@pytest.mark.parametrize("content", OBJECTS)
def test_objects_of_json_that_are_no_rows_are_refused(content: str, root: Path) -> None:
    (root / "t.jsonl").write_text(content)
    with pytest.raises(DataError, match=OBJECTS[content]):
        read_rows(root / "t.jsonl", "", {})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, "b"], "t.parquet, row 1: the label is empty: fill it in, or remove the row"),
        ([["a"], ["a", "b"]], "row 1: the label .* is a list"),
        ([b"a", b"b"], "row 1: the label is bytes, not text"),
        ([1.0, None], "row 2: the label is empty"),
    ],
)
def test_cells_of_parquet_that_are_no_labels_are_refused(values: list[object], message: str, root: Path) -> None:
    pq.write_table(pa.table({"path": ["a1.png", "b1.png"], "label": values}), root / "t.parquet")
    with pytest.raises(DataError, match=message):
        read_rows(root / "t.parquet", "", {})


def test_a_row_knows_its_place_and_what_the_table_says(root: Path) -> None:
    (root / "t.csv").write_text("split,path,label,weight\nVAL,a1.png,a,2\n\ntraining,b1.png,b,1\n")
    rows, said, notes = read_rows(root / "t.csv", "", {})
    assert [(row.file.name, row.label, row.part, row.group, row.weight) for row in rows] == [
        ("a1.png", "a", "validation", "", 2.0),
        ("b1.png", "b", "train", "", 1.0),
    ]
    assert [row.place for row in rows] == [f"{root / 't.csv'}, line 2", f"{root / 't.csv'}, line 4"]
    assert said == {"path", "label", "split", "weight"}
    assert notes == []
