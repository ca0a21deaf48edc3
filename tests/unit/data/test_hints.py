from __future__ import annotations

from pathlib import Path

import pytest

from helpers.photos import make_layout
from helpers.rights import permissions_obeyed
from triptych.data.datasets import fetch_dataset
from triptych.errors import DataError

# What a folder holds, and what the refusal says. An ending is that of a file which is no image.
REFUSED = {
    "unknown parts": ("fold1/cats/1 fold1/dogs/1 fold2/cats/2 fold2/dogs/2", "look like parts, not classes"),
    "days alike": ("ants/day1/1 ants/day2/1 bees/day1/1 bees/day2/1", "set split.group_by=folder"),
    "one level down": ("photos/ants/1 photos/bees/1", r"one level down: give .*/photos"),
    "flat": ("cat.0 cat.1 dog.0 dog.1", "look like the classes cat, dog"),
    "flat parts": ("train/cat.0 train/cat.1 train/dog.0 train/dog.1 test1/1", "no class folders: .* classes cat, dog"),
    "flat names of a camera": ("1030023514_aad5 10308379_1b6c 20_f62a", "if it is one class, give the folder above"),
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
    "classes first": ("cat/train/1 cat/test/1 dog/train/1 dog/test/1", "put them above the classes, as train/cat"),
    "doubled folds": ("x/x/a/1 x/x/b/1 y/y/a/1 y/y/b/1", "look like parts, not classes"),
    "portions": ("images_part_1/1 images_part_2/1 metadata.csv", "look like portions of one set"),
    "domains": ("trainA/1 trainB/1 testA/1 testB/1", "make folders such as test/A"),
    "masks": ("images/1 masks/1", "has images beside masks, which are no classes: give a table"),
    "annotations": ("Images/a/1 Images/b/1 Annotation/x.csv", r"give .*/Images$"),
    "many classes": (" ".join([*(f"train/{n}/1" for n in range(9)), "test/x/1"]), r"0, 1, 2, 3, 4, \.\.\. are not"),
    "another ending": ("a/1 b/1.heic", r"class 'b' has no images, but other files \(\.heic 1\)"),
}  # fmt: skip


@pytest.mark.parametrize(("names", "message"), REFUSED.values(), ids=REFUSED)
def test_a_folder_is_refused_in_one_line_that_helps(tmp_path: Path, names: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        fetch_dataset(f"folder:{make_layout(tmp_path, names)}")
    assert "\n" not in str(error.value)


def test_a_locked_class_beside_a_class_called_train_is_named(tmp_path: Path) -> None:
    make_layout(tmp_path, "train/1 car/1 bus/1")
    (tmp_path / "bus").chmod(0)
    with permissions_obeyed(), pytest.raises(DataError, match="/bus may not be read: allow it with chmod"):
        fetch_dataset(f"folder:{tmp_path}")


def test_a_folder_whose_files_may_not_be_looked_at_is_named(tmp_path: Path) -> None:
    make_layout(tmp_path / "data", "a/1 b/1")
    (tmp_path / "data").chmod(0o644)
    with permissions_obeyed(), pytest.raises(DataError, match="may not be read: allow it with chmod"):
        fetch_dataset(f"folder:{tmp_path / 'data'}")
