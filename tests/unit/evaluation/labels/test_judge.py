from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from triptych.config.resolve import resolve_config
from triptych.config.schema import BoardConfig
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.evaluation.labels.judge import judge_labels, write_corrections
from triptych.images.gradients import describe_gradients
from triptych.images.sources import FileImages

IMAGES, CLASSES, CHANGED = 120, 3, 6


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BoardData:
    """Return digits in files, the labels of the first of which are wrong."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    digits = load_digits(n_class=CLASSES)
    lines = ["path,label"]
    for number in range(IMAGES):
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{(digits.target[number] + (number < CHANGED)) % CLASSES}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return load_board(prepare_board(read_table(tmp_path / "labels.csv")))


def read_table(file: Path, *settings: str) -> BoardConfig:
    [board] = resolve_config("photos", data=f"table:{file}", panels=["most-frequent"], settings=settings).boards
    return board


def test_changed_labels_are_found_and_the_corrections_are_a_table(photos: BoardData, tmp_path: Path) -> None:
    pixels = np.stack([photos.images[number] for number in range(IMAGES)])
    judged = judge_labels(replace(photos, image_weights=np.arange(1.0, IMAGES + 1.0)), describe_gradients(pixels))
    found = judged.as_json()["suspects"]
    assert {one["path"] for one in found} == {f"{number}.png" for number in range(CHANGED)}
    assert judged.verdict.startswith(f"{CHANGED} of {IMAGES} labels are probably wrong; models that have not seen ")
    assert judged.caveats[0].startswith(f"{CHANGED} of {IMAGES} labels are probably wrong, ")
    write_corrections(judged, tmp_path / "corrections.csv")
    with (tmp_path / "corrections.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [Path(row["path"]).name for row in rows[:CHANGED]] == [one["path"] for one in found]
    assert all((row["label"] != row["suggested"]) == (row["suspect"] == "yes") for row in rows)
    corrected = load_board(prepare_board(read_table(tmp_path / "corrections.csv", "data.label_column=suggested")))
    right = load_digits(n_class=CLASSES).target[:IMAGES]
    assert isinstance(corrected.images, FileImages)
    numbers = [int(file.stem) for file in corrected.images.files]
    assert [corrected.prepared.classes[label] for label in corrected.labels] == list(map(str, right[numbers]))
    # They keep their weights, which follow the order of the first table.
    assert corrected.image_weights is not None
    assert isinstance(photos.images, FileImages)
    assert corrected.image_weights.tolist() == [photos.images.files.index(file) + 1 for file in corrected.images.files]
    # The same images are tested, with other labels.
    tested = {photos.image_ids[row] for row in photos.split.test}
    assert {corrected.image_ids[row] for row in corrected.split.test} == tested


def test_labels_without_a_fault_are_not_suspected(digits: BoardData) -> None:
    judged = judge_labels(digits, describe_gradients(digits.pixels))
    assert judged.caveats == []
    assert judged.agreement > 0.97
    assert judged.data.name_image(7) == "image 7"
