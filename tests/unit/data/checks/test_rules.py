from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.photos import write_photos
from triptych.data.checks.examine import examine
from triptych.data.checks.rules import explain_resolution, find_difference


@pytest.mark.parametrize(
    ("images", "disagreement", "expected"),
    [(540, 0.02, 0.0170), (540, 0.05, 0.0269), (540, 0.10, 0.0380), (21_000, 0.02, 0.0027)],
)
def test_the_difference_that_a_test_part_shows_in_four_of_five_cases(
    images: int, disagreement: float, expected: float
) -> None:
    """Connor's equation gives the number of images back, and simulated tests find the difference as often."""
    difference = find_difference(images, disagreement)
    assert difference == pytest.approx(expected, abs=1e-4)
    assert difference is not None
    needed = (1.9600 * disagreement**0.5 + 0.8416 * (disagreement - difference**2) ** 0.5) ** 2 / difference**2
    assert needed == pytest.approx(images, rel=1e-3)
    shares = [(disagreement + difference) / 2, (disagreement - difference) / 2, 1 - disagreement]
    better, worse, _ = np.random.default_rng(0).multinomial(images, shares, size=20_000).T
    shown = np.abs(better - worse) > 1.96 * np.sqrt(better + worse)
    assert shown.mean() == pytest.approx(0.8, abs=0.08)  # a test of few counts jumps


def test_what_is_said_of_small_test_parts() -> None:
    # Wilson, 90 of 100: 0.8256 to 0.9448.
    assert "about 6.0 points" in explain_resolution(100)
    assert "disagree on 10 % of them must differ by 8.8 points" in explain_resolution(100)
    assert "no difference between two models that disagree on up to 10 % of them" in explain_resolution(5)
    assert find_difference(1, 0.1) is None


def test_what_is_left_out_is_found_by_reason(tmp_path: Path) -> None:
    photos = write_photos(tmp_path, {"Cat": 9, "cat": 9, "Cat/.thumbnails": 1})
    (photos / "cat" / "0.txt").touch()
    (photos / "Cat" / "gone.jpg").symlink_to("nowhere.jpg")
    found = {finding.kind: finding for finding in examine(str(photos)).findings}
    expected = {
        "left_out_ending": ("warning", "cat/0.txt"),
        "left_out_hidden": ("note", "Cat/.thumbnails"),
        "left_out_broken_link": ("warning", "Cat/gone.jpg"),
    }
    kinds = {kind for kind in found if kind.startswith("left_out")}
    assert kinds == set(expected)
    assert {kind: (found[kind].severity, found[kind].examples[0].images[0].name) for kind in kinds} == expected
    assert "'Cat' and 'cat' differ in case" in found["classes_alike"].message
