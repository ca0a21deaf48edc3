from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.config.schema import DataConfig
from triptych.data.datasets import Dataset, fetch_dataset
from triptych.data.layouts import name_part
from triptych.errors import DataError

SPELLINGS = {
    "train": "train Train TRAINING training_set seg_train train_images trainset train-data train2017 trn TrainImages",
    "validation": "val valid Validation val_images dev eval valset images_val devset",
    "test": "test TESTING test_set seg_test testdata test1 tst test-images",
}
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
}  # fmt: skip
# What a folder holds, and what the refusal says. An ending is that of a file which is no image.
REFUSED = {
    "unknown parts": ("fold1/cats/1 fold1/dogs/1 fold2/cats/2 fold2/dogs/2", "look like parts, not classes"),
    "days alike": ("ants/day1/1 ants/day2/1 bees/day1/1 bees/day2/1", "set split.group_by=folder"),
    "one level down": ("photos/ants/1 photos/bees/1", r"one level down: give .*/photos"),
    "flat": ("cat.0 cat.1 dog.0 dog.1", "look like the classes cat, dog"),
    "flat parts": ("train/cat.0 train/dog.0 test1/1", r"has no class folders: .* look like the classes cat, dog"),
    "flat without names": ("0001 0002", "holds images itself"),
    "table": ("1 2 labels.csv", r"give table:.*labels\.csv"),
    "archive": ("photos.zip", r"photos\.zip is an archive: unpack it"),
    "arrays": ("images.npz", r"images\.npz holds arrays"),
    "empty": ("", "it needs a directory of images for each"),
    "unlabelled test": ("cats/1 dogs/1 test/1", "next to class folders such as cats: move it elsewhere"),
    "class beside parts": ("train/a/1 train/b/1 test/a/2 test/b/2 a/3", "has a next to train, val or test"),
    "part beside parts": ("train/a/1 train/b/1 extra/a/2 extra/b/2", "has extra next to train, val or test"),
    "two of one": ("test/a/1 test/b/1 testing/a/1 testing/b/1 train/a/1 train/b/1", "are both the test set: keep one"),
    "no train": ("val/a/1 val/b/1 test/a/1 test/b/1", "but no train: add one"),
    "case": ("train/Cat/1 train/dog/1 test/cat/2 test/dog/2", "differ in upper and lower case only"),
    "another ending": ("a/1 b/1.heic", r"class 'b' has no images, but other files \(\.heic 1\)"),
}  # fmt: skip


def make(folder: Path, names: str) -> Path:
    for number, name in enumerate(names.split()):
        file = folder / (name if Path(name).suffix in {".csv", ".zip", ".npz", ".heic"} else f"{name}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(file, format="PNG")
    return folder


def read(folder: Path, *, nested: bool = False) -> Dataset:
    return fetch_dataset(DataConfig(source=str(folder)).source, nested=nested)


@pytest.mark.parametrize("part", SPELLINGS)
def test_parts_are_known_in_the_spellings_of_public_data_sets(part: str) -> None:
    assert {name: name_part(name) for name in SPELLINGS[part].split()} == dict.fromkeys(SPELLINGS[part].split(), part)


@pytest.mark.parametrize(
    "name", ["trainers", "contest", "evaluations", "validity", "test_train", "set", "images", "2017"]
)
def test_other_words_are_no_parts(name: str) -> None:
    assert name_part(name) is None


@pytest.mark.parametrize(("names", "classes", "parts"), READ.values(), ids=READ)
def test_a_folder_is_read(tmp_path: Path, names: str, classes: str, parts: str) -> None:
    dataset = read(make(tmp_path, names))
    assert dataset.classes == tuple(classes.split())
    assert set(parts.split()) == (set() if dataset.parts is None else set(dataset.parts.tolist()))


@pytest.mark.parametrize(("names", "message"), REFUSED.values(), ids=REFUSED)
def test_a_folder_is_refused_in_one_line_that_helps(tmp_path: Path, names: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(make(tmp_path, names))
    assert "\n" not in str(error.value)


def test_classes_may_all_have_the_same_groups(tmp_path: Path) -> None:
    dataset = read(make(tmp_path, "ants/day1/1 ants/day2/2 ants/3 bees/day1/1 bees/day2/2"), nested=True)
    assert dataset.subfolders == (None, "day1", "day2", "day1", "day2")


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    dataset = read(make(tmp_path, f"{READ['intel'][0]} seg_train/seg_train/notes.csv stray"))
    left_out = {one.path.relative_to(tmp_path).as_posix(): one.reason for one in dataset.left_out}
    assert left_out == {"seg_pred": "beside", "seg_train/seg_train/notes.csv": "ending", "stray.png": "beside"}


@pytest.mark.parametrize("folder", ["10:30", "run_10:30/photos", "idx/a:b"])
def test_a_path_may_hold_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    make(tmp_path / folder, "a/1 b/1")
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
    make(tmp_path / "parts", f"train/{composed}/1 train/bar/1 test/{decomposed}/2 test/bar/2")
    dataset = read(tmp_path / "parts")
    assert dataset.classes == ("bar", composed)
    assert np.bincount(dataset.labels).tolist() == [2, 2]
    assert read(make(tmp_path / "twins", f"{composed}/1 {decomposed}/2")).classes == (decomposed, composed)


@pytest.mark.parametrize("name", ["photos.zip", "photos.csv"])
def test_a_file_is_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"is an archive: unpack it|is a file: give a folder of images, or table:FILE"):
        fetch_dataset(f"folder:{tmp_path / name}")
