from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.photos import write_photos
from triptych.config.schema import BoardConfig, DataConfig
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.data.duplicates import identify_pixels


def test_an_image_is_known_by_its_pixels_in_arrays_and_in_any_file(digits: BoardData, tmp_path: Path) -> None:
    assert digits.image_ids.dtype == "S32"
    assert digits.image_ids[7].decode() == identify_pixels(digits.images[7]).hex()[:32]
    folder = write_photos(tmp_path / "photos", {"a": 8, "b": 8})
    with Image.open(folder / "a" / "0.jpg") as image:
        image.save(folder / "b" / "copy.png")
    data = load_board(prepare_board(BoardConfig(data=DataConfig(source=str(folder)))))
    names = data.prepared.classes
    assert [names[label] for label in data.labels[data.image_ids == data.image_ids[0]]] == ["a", "b"]
    assert len(np.unique(data.image_ids)) == 16


def test_a_test_set_is_the_same_whatever_else_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    source = DataConfig(source=str(tmp_path / "photos"))
    for seed, part in enumerate(("test", "train")):
        write_photos(tmp_path / "photos" / part, {"a": 8, "b": 8}, seed=7 * seed)
    first = prepare_board(BoardConfig(data=source))
    train, test = tmp_path / "photos" / "train", tmp_path / "photos" / "test"
    (train / "a" / "0.jpg").unlink()
    (test / "a" / "0.jpg").rename(test / "a" / "moved.jpg")
    later = prepare_board(BoardConfig.model_validate({"data": source.model_dump(), "split": {"seed": 5}}))
    assert later.split_id != first.split_id
    assert later.test_set_id == first.test_set_id
    (test / "a" / "moved.jpg").rename(test / "b" / "moved.jpg")
    assert prepare_board(BoardConfig(data=source)).test_set_id != first.test_set_id
