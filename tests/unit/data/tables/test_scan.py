from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from triptych.data.tables.scan import GROUPS_UNUSED, WEIGHTS_USED, ImageTable, has_only_metadata, scan_table
from triptych.errors import DataError

Record = dict[str, str]


def write_images(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / name, format="PNG")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_images(
        tmp_path_factory.mktemp("tables"), *(f"{name}{number}.png" for name in "ab" for number in "12")
    )
    (folder / "folder.png").mkdir()
    (folder / "notes.txt").write_text("no image")
    os.mkfifo(folder / "pipe.png")
    return folder


def scan(root: Path, content: str, name: str = "t.csv", **named: str) -> ImageTable:
    (root / name).write_text(content, encoding="utf-8")
    return scan_table(root / name, named)


def name_files(table: ImageTable) -> list[str]:
    return [file.relative_to(table.root).as_posix() for file in table.files]


CELLS = ["a1.png", "a2.png", "b1.png", "a", "b", "train", "..", '"', "\0", "\r", "\ufeff", "\\"]
GOOD = "path,label\na1.png,a\na2.png,a\nb1.png,b\nb2.png,b\n"
SPLIT = "path,label,split\na1.png,a,{}\nb1.png,b,{}\na2.png,a,{}\nb2.png,b,{}\n"
URL = "https://host/a1.png"
# A table of CSV, and what the message says; `{}` stands for the rows of GOOD.
BAD = {
    "path,label\n": "the table .*t.csv has no rows: add one per image",
    "{}a1.png,\n": "line 6: the label is empty: fill it in, or remove the line",
    "{}a1.png,  \na2.png,\n": "line 6 and 1 more: the label is empty",
    "{},a\n": "line 6: the path is empty: fill it in, or remove the line",
    '{}" ",a\n': "line 6: the path is empty",
    "{}c1.png,a\nc2.png,a\n": "line 6 and 1 more: 'c1.png' does not exist in .*: correct the path, which is relative",
    "{}A1.png,a\n": r"line 6: 'A1.png' does not exist in .*; did you mean 'a1\.png'\?",
    "{}a1,a\n": r"line 6: 'a1' does not exist in .*; did you mean 'a1\.png'\?",
    "{}gone/a1.png,a\n": "line 6: 'gone/a1.png' does not exist in .*the table$",
    "{}C:\\photos\\a1.png,a\n": r"line 6: 'C:\\\\photos\\\\a1.png' does not exist in",
    "{}folder.png,a\n": "line 6: 'folder.png' is a folder in .*: name an image",
    "{}pipe.png,a\n": "line 6: 'pipe.png' is no file in .*: name an image",
    "{}a1.png/x.png,a\n": r"line 6: 'a1.png/x.png' cannot be found in .* \(Not a directory\)",
    f"{{}}{'x' * 300}.png,a\n": r"line 6: 'x*\.\.\.' cannot be found in .* \(File name too long\)",
    "{}.,a\n": r"line 6: '\.' is a folder",
    "{}notes.txt,a\n": r"line 6: 'notes.txt' has no ending of an image \(\.jpg, .*\): convert it, or remove the line",
    f"{{}}{URL},a\n": f"line 6: '{URL}' is an address: download the images, and name the files",
    "{}file:///a1.png,a\n": "line 6: 'file:///a1.png' is an address",
    "{}a1.png,\"['a', 'b']\"\n": "line 6: the label .* is a list, but each image has to have one class: give one label",
    "{}a1.png,b\n": "line 6 gives 'a1.png' the label 'b', but .*t.csv, line 2 gives it 'a': keep one of the two",
    "{}./a1.png,b\n": "line 6 gives 'a1.png' the label 'b'",
    "{}folder.png/../a1.png,b\n": "line 6 gives 'a1.png' the label 'b'",
    "{}a1.png,\0\n": r"line 6: the label '\\x00' holds a NUL: remove it",
    "path,label\na1.png,a\na2.png,a\n": "has one class, 'a': a comparison needs images of at least two",
    SPLIT.format(
        "train", "train", "maybe", "test"
    ): r"line 4: the split 'maybe' is not train, val or test: correct it, or",
    SPLIT.format("train", "train", "", ""): "line 4 and 1 more: the split '' is not train, val or test",
    SPLIT.format(
        "test", "test", "test", "test"
    ): "has the split test, but no train: add such rows, or leave the column out",
    SPLIT.format("val", "val", "test", "test"): "has the split test and validation, but no train",
    SPLIT.format("train", "test", "train", "test"): "has no image of class 'a' in the test set, and every class has to",
    SPLIT.format("train", "train", "test", "test") + "a1.png,a,test\n": "line 6 gives 'a1.png' the split 'test', but",
    "path,label,group\na1.png,a,x\nb1.png,b,\na1.png,a,y\n": "line 4 gives 'a1.png' the group 'y', but",
    "path,label,weight\na1.png,a,1\nb1.png,b,1\na1.png,a,2\n": "line 4 gives 'a1.png' the weight '2.0', but",
    **{
        f"path,label,weight\na1.png,a,1\nb1.png,b,{weight}\n": (
            "line 3: the weight '.*' is no number from 1e-30 to 1e\\+30: correct it, or .*data.weight_column=none"
        )
        for weight in ("", "heavy", "0", "-1", "inf", "nan", "1e31", '"1,5"')
    },
}


@pytest.mark.parametrize("content", BAD, ids=lambda content: repr(content)[-60:])
def test_a_bad_table_is_refused_in_one_line_with_its_row(content: str, root: Path) -> None:
    with pytest.raises(DataError, match=BAD[content]) as refused:
        scan(root, content.replace("{}", GOOD))
    assert "\n" not in str(refused.value)
    assert str(root / "t.csv") in str(refused.value)


def to_object(cells: list[str]) -> str:
    return json.dumps(dict(zip(("path", "label", "split", "weight"), cells, strict=False)))


@given(
    st.sampled_from(["path,label", "path;class", "file\tlabel\tsplit", ""]),
    st.lists(st.lists(st.sampled_from(CELLS) | st.text(max_size=4), max_size=4), max_size=4),
    st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_table_holds_it_is_read_or_refused(
    root: Path, header: str, rows: list[list[str]], ending: str
) -> None:
    text = "\n".join([header, *map(to_object if ending == ".jsonl" else ",".join, rows)])
    (root / f"any{ending}").write_bytes(text.encode(errors="surrogatepass"))
    with suppress(DataError):
        scan_table(root / f"any{ending}", {})


def test_rows_are_in_the_order_of_a_folder(tmp_path: Path) -> None:
    names = [
        f"{part}/{label}/{name}.png" for part in ("train", "val", "test") for label in "ba" for name in ("2", "10")
    ]
    write_images(tmp_path, *names)
    rows = "".join(f"{name},{name.split('/')[1]},{name.split('/')[0]}\n" for name in names)
    table = scan(tmp_path, f"file,class,subset\n{rows}")
    assert name_files(table) == sorted(names)
    assert table.parts is not None
    assert table.parts.tolist() == ["test"] * 4 + ["train"] * 4 + ["validation"] * 4
    assert table.classes == ("a", "b")
    assert table.labels.tolist() == [0, 0, 1, 1] * 3


@pytest.mark.parametrize(
    ("splits", "parts", "note"),
    [
        (("Training", "train", "TEST", "testing"), ["train", "train", "test", "test"], None),
        (("train", "train", "valid", "val"), ["train", "train", "test", "test"], "val/ is used as the test set"),
        (("train",) * 4, None, "there is only train: the test set is drawn from it"),
    ],
)
def test_parts_are_those_of_a_folder(
    splits: Sequence[str], parts: list[str] | None, note: str | None, root: Path
) -> None:
    table = scan(root, SPLIT.format(*splits))
    assert parts == (None if table.parts is None else table.parts.tolist())
    assert [found.startswith(note) for found in table.notes] == [True] if note else table.notes == ()


def test_labels_are_text_without_the_blanks_around_them(root: Path) -> None:
    table = scan(root, "path,label\na1.png, 01\na2.png,01 \nb1.png,NA\nb2.png,\u00a0=1+1\x1b[31m\n")
    assert table.classes == ("01", "=1+1\x1b[31m", "NA")
    assert table.notes == ("blanks around 2 labels of t.csv were removed",)


def test_equal_rows_are_dropped_and_counted(root: Path) -> None:
    table = scan(root, f"{GOOD}a1.png,a\n./a1.png,a\n{root / 'a1.png'},a\n")
    assert len(table.files) == 4
    assert table.notes == ("3 rows that repeat another one were dropped",)


def test_paths_may_be_absolute_above_the_table_of_windows_or_in_another_form_of_unicode(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "é.png")
    write_images(tmp_path, "x/a/1.png", "y/2.png", f"x/{decomposed}", "x/b\\c.png")
    rows = f"a\\1.png,a\n../y/2.png,a\n{tmp_path}/y/2.png,a\né.png,b\nb\\c.png,b\n"
    with pytest.raises(DataError, match="does not exist"):
        scan(tmp_path / "x", f"path,label\n{rows}gone.png,a\n")
    table = scan(tmp_path / "x", f"path,label\n{rows}")
    names = {Path(os.path.relpath(file, tmp_path / "x")).as_posix() for file in table.files}
    assert names == {"a/1.png", "../y/2.png", decomposed, "b\\c.png"}


def test_groups_and_weights_are_read_and_noted(root: Path) -> None:
    rows = "path,label,group,weight\nb1.png,b,g,2\na1.png,a,g,0.5\na2.png,a,,1e3\n"
    table = scan(root, rows)
    assert table.groups == ("g", "", "g")
    assert table.weights is not None
    np.testing.assert_array_equal(table.weights, np.array([0.5, 1000, 2]))
    assert table.weights.dtype == np.float64
    assert table.notes == (GROUPS_UNUSED, WEIGHTS_USED)
    without = scan(root, rows, group="none", weight="none")
    assert (without.groups, without.weights, without.notes) == (None, None, ())


def write_metadata(folder: Path, name: str, records: list[Record]) -> None:
    if name.endswith("jsonl"):
        (folder / name).write_text("\n".join(map(json.dumps, records)))
    elif name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(records), folder / name)
    else:
        lines: list[list[str]] = [list(records[0]), *(list(record.values()) for record in records)]
        (folder / name).write_text("\n".join(map(",".join, lines)))


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
@pytest.mark.parametrize("parts", [("",), ("train", "test")])
def test_a_folder_with_metadata_is_a_table(name: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    for part in parts:
        write_images(tmp_path / part, "1.png", "sub/2.png")
        write_metadata(
            tmp_path / part, name, [{"file_name": "sub/2.png", "label": "b"}, {"file_name": "1.png", "label": "a"}]
        )
    table = scan_table(tmp_path, {})
    assert has_only_metadata(tmp_path)
    assert name_files(table) == [
        f"{part}/{name}".strip("/") for part in sorted(parts) for name in ("1.png", "sub/2.png")
    ]
    assert (table.parts is None) == (parts == ("",))


def test_a_folder_without_one_table_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "train", "1.png", "2.png")
    with pytest.raises(DataError, match=r"is a folder without metadata\.csv or .*: name the table itself$"):
        scan_table(tmp_path, {})
    (tmp_path / "labels.csv").write_text(GOOD)
    with pytest.raises(DataError, match=r"name the table itself; did you mean table:.*/labels\.csv\?"):
        scan_table(tmp_path, {})
    records = [
        {"file_name": "1.png", "label": "a", "split": "test"},
        {"file_name": "2.png", "label": "b", "split": "train"},
    ]
    write_metadata(tmp_path / "train", "metadata.csv", records)
    with pytest.raises(DataError, match=r"line 2: the split 'test' is not that of the folder train"):
        scan_table(tmp_path, {})
    for other in (tmp_path / "metadata.csv", tmp_path / "train" / "metadata.jsonl"):
        other.write_text("path,label")
        with pytest.raises(
            DataError, match=r"metadata\.\w+ and .*metadata\.\w+ are tables of the same images: keep one"
        ):
            scan_table(tmp_path, {})
        other.unlink()


def test_a_folder_with_class_folders_is_no_table(tmp_path: Path) -> None:
    write_images(tmp_path, "train/a/1.png", "train/b/1.png")
    (tmp_path / "metadata.csv").write_text(GOOD)
    assert not has_only_metadata(tmp_path)
    shutil.rmtree(tmp_path / "train" / "b")
    assert has_only_metadata(tmp_path)
    assert not has_only_metadata(tmp_path / "gone")
