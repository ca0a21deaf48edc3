from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.photos import make_layout
from triptych.config.schema import DataConfig
from triptych.data.datasets import Dataset, fetch_dataset
from triptych.errors import DataError

ASL = [f"asl_{part}/asl_{part}/{name}/1" for part in ("train", "test") for name in "ab"]
INTEL = [f"seg_{part}/seg_{part}/{name}/1" for part in ("train", "test") for name in "ab"]
# What a folder holds, by image, and the classes and parts that are read.
READ = {
    "kaggle": ("training_set/cats/1 training_set/dogs/1 test_set/cats/2 test_set/dogs/2", "cats dogs", "train test"),
    "intel": (" ".join([*INTEL, "seg_pred/seg_pred/3"]), "a b", "train test"),
    "three": ("Train/a/1 Train/b/1 DEV/a/2 DEV/b/2 tst/a/3 tst/b/3", "a b", "train validation test"),
    "a class called train": ("bus/1 car/1 train/1", "bus car train", ""),
    "a class called train in parts": ("train/bus/1 train/train/1 test/bus/2 test/train/2", "bus train", "train test"),
    "days": ("ants/day1/1 ants/day2/2 bees/day3/1", "ants bees", ""),
    "one folder each": ("ants/images/1 bees/images/1", "ants bees", ""),
    "trainers": ("trainers/1 testers/1", "testers trainers", ""),
    "stray": ("ants/1 bees/1 stray", "ants bees", ""),
    "doubled": (" ".join(ASL), "a b", "train test"),
    "recycled": ("waste/1 Recycled/1", "Recycled waste", ""),
}  # fmt: skip


def read(folder: Path, *, nested: bool = False) -> Dataset:
    return fetch_dataset(DataConfig(source=str(folder)).source, nested=nested)


@pytest.mark.parametrize(("names", "classes", "parts"), READ.values(), ids=READ)
def test_a_folder_is_read(tmp_path: Path, names: str, classes: str, parts: str) -> None:
    dataset = read(make_layout(tmp_path, names))
    assert dataset.classes == tuple(classes.split())
    assert set(parts.split()) == (set() if dataset.parts is None else set(dataset.parts.tolist()))


def test_classes_may_all_have_the_same_groups(tmp_path: Path) -> None:
    dataset = read(make_layout(tmp_path, "ants/day1/1 ants/day2/2 ants/3 bees/day1/1 bees/day2/2"), nested=True)
    assert dataset.subfolders == (None, "day1", "day2", "day1", "day2")


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    dataset = read(make_layout(tmp_path, f"{READ['intel'][0]} seg_train/seg_train/notes.csv seg_train/between stray"))
    left_out = {one.path.relative_to(tmp_path).as_posix(): one.reason for one in dataset.left_out}
    beside = ("seg_pred/seg_pred/3.png", "seg_train/between.png", "stray.png")
    assert left_out == {**dict.fromkeys(beside, "beside"), "seg_train/seg_train/notes.csv": "ending"}


@pytest.mark.parametrize("folder", ["10:30", "run_10:30/photos", "idx/a:b"])
def test_a_path_may_hold_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    make_layout(tmp_path / folder, "a/1 b/1")
    assert read(tmp_path / folder).root == tmp_path / folder
    monkeypatch.chdir(tmp_path)
    source = DataConfig(source=folder).source
    assert source == f"folder:{tmp_path / folder}"
    assert DataConfig(source=source).source == source


@pytest.mark.parametrize("source", ["idxx:photos", "http://host/photos.zip"])
def test_a_colon_of_something_else_is_refused(source: str) -> None:
    with pytest.raises(DataError, match="unknown data set"):
        fetch_dataset(DataConfig(source=source).source)


def test_unicode_forms_of_one_name_are_one_class_in_all_parts_and_two_classes_in_one_folder(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    make_layout(tmp_path / "parts", f"train/{composed}/1 train/bar/1 test/{decomposed}/2 test/bar/2")
    dataset = read(tmp_path / "parts")
    assert dataset.classes == ("bar", composed)
    assert np.bincount(dataset.labels).tolist() == [2, 2]
    assert read(make_layout(tmp_path / "twins", f"{composed}/1 {decomposed}/2")).classes == (decomposed, composed)


@pytest.mark.parametrize("name", ["photos.zip", "photos.csv"])
def test_a_file_is_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"is an archive: unpack it|is a file: give a folder of images, or table:FILE"):
        fetch_dataset(f"folder:{tmp_path / name}")
