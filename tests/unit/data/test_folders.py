from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.photos import write_photos
from triptych.data.datasets import fetch_dataset
from triptych.errors import DataError


def test_a_folder_has_one_class_per_directory(photos: Path) -> None:
    dataset = fetch_dataset(f"folder:{photos}")
    assert dataset.classes == ("green", "red")
    assert np.bincount(dataset.labels).tolist() == [20, 20]
    assert dataset.parts is None


def test_classes_must_agree_between_parts(tmp_path: Path) -> None:
    write_photos(tmp_path / "train", {"a": 3, "b": 3})
    write_photos(tmp_path / "test", {"a": 3, "c": 3})
    with pytest.raises(DataError, match="b, c are not in every part"):
        fetch_dataset(f"folder:{tmp_path}")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every name is Unicode")
def test_a_class_whose_name_is_not_utf_8_is_named_and_a_file_may_have_any_name(tmp_path: Path) -> None:
    write_photos(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "0.jpg").rename(tmp_path / "a" / os.fsdecode(b"\xff.jpg"))
    assert len(fetch_dataset(f"folder:{tmp_path}").labels) == 6
    (tmp_path / "b").rename(tmp_path / os.fsdecode(b"b\xff"))
    with pytest.raises(DataError, match=r"the name of class b'b\\xff' in .* is not UTF-8: rename the folder"):
        fetch_dataset(f"folder:{tmp_path}")


def test_parts_are_known_in_any_case_and_may_not_be_doubled(tmp_path: Path) -> None:
    for seed, part in enumerate(("Training", "TEST")):
        write_photos(tmp_path / part, {"a": 3, "b": 3}, seed=seed)
    (tmp_path / "__MACOSX").mkdir()
    parts = fetch_dataset(f"folder:{tmp_path}").parts
    assert parts is not None
    assert set(parts.tolist()) == {"train", "test"}
    write_photos(tmp_path / "extra", {"a": 3}, seed=3)
    with pytest.raises(DataError, match="has extra next to train, val or test"):
        fetch_dataset(f"folder:{tmp_path}")
    (tmp_path / "extra").rename(tmp_path / "testing")
    with pytest.raises(DataError, match="are both the test set: keep one"):
        fetch_dataset(f"folder:{tmp_path}")
    (tmp_path / "Training").rename(tmp_path / "validation")
    shutil.rmtree(tmp_path / "testing")
    with pytest.raises(DataError, match="but no train: add one"):
        fetch_dataset(f"folder:{tmp_path}")
