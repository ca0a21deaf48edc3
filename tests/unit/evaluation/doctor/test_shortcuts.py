from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.evidence import make_evidence
from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.evaluation.doctor.shortcuts import find_shortcuts, predict_by_trait

TRAITS = {"brightness": ("png", 90, 24), "size of the file": ("png", 0, 60), "format of the file": ("bmp", 0, 24)}


def write_classes(folder: Path, suffix: str, brighter: int, side: int) -> BoardData:
    """Write two classes of noise, of which the second has another trait; return the board."""
    rng = np.random.default_rng(0)
    for name, kind, level, pixels in (("plain", "png", 0, 24), ("other", suffix, brighter, side)):
        (folder / name).mkdir(parents=True)
        for number in range(40):
            noise = rng.integers(0, 100, (pixels, pixels, 3), dtype=np.uint8) + np.uint8(level)
            Image.fromarray(noise).save(folder / name / f"{number}.{kind}")
    config = resolve_config("photos", data=str(folder), panels=["nearest-neighbours"], settings=["repeats=1"])
    return load_board(prepare_board(config.boards[0]))


@pytest.mark.parametrize("trait", TRAITS)
def test_a_trait_that_tells_the_classes_apart_is_named(trait: str, tmp_path: Path) -> None:
    evidence = make_evidence(write_classes(tmp_path, *TRAITS[trait]), {"name": "nearest-neighbours", "errors": 1})
    found = [finding.cause for finding in find_shortcuts(evidence)]
    assert any(text.startswith(f"the {trait} alone predicts the class of") for text in found), found


def test_classes_alike_in_all_traits_have_no_shortcut(tmp_path: Path) -> None:
    evidence = make_evidence(write_classes(tmp_path, "png", 0, 24), {"name": "nearest-neighbours", "errors": 1})
    assert [*find_shortcuts(evidence)] == []


def test_brightness_is_no_shortcut_to_digits(digits: BoardData) -> None:
    assert [*find_shortcuts(make_evidence(digits, {"name": "numpy-mlp"}))] == []


def test_an_unknown_trait_gets_the_most_frequent_class() -> None:
    predicted = predict_by_trait(np.array([0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 0]), np.array([0, 1, 2]))
    assert predicted.tolist() == [0, 1, 0]
