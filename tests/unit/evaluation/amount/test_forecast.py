from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from triptych.evaluation.amount.forecast import Amount, draw_errors, forecast_accuracy

IMAGES = np.array([125, 177, 250, 354, 500, 707, 1000])
TESTED, DRAWS = 600, 5


def draw_correct(rng: np.random.Generator, limit: float = 0.02, slope: float = 0.08) -> np.ndarray:
    """Return trainings whose errors follow a known power law; most of them fail on the same, difficult images."""
    errors = limit + slope * (IMAGES / 1000) ** -0.5
    difficulty = rng.random(TESTED)
    own = rng.random((7, DRAWS, TESTED))
    seen = np.where(rng.random((7, DRAWS, TESTED)) < 0.7, difficulty, own)
    return seen >= errors[:, None, None]


def forecast(correct: np.ndarray, groups: np.ndarray | None = None) -> Amount:
    return forecast_accuracy("numpy-mlp", "numpy-mlp", IMAGES, correct, confidence_level=0.95, groups=groups)


def test_the_forecast_of_a_known_law_covers_its_truth() -> None:
    truth = 1 - (0.02 + 0.08 * 2**-0.5)
    found = [forecast(draw_correct(np.random.default_rng(seed))).forecast[0] for seed in range(8)]
    assert sum(one.low <= truth <= one.high for one in found) >= 7
    assert all(one.images == 2000 and one.high - one.low < 0.1 for one in found)


def test_grouped_test_images_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    wrong = np.repeat(~draw_correct(rng)[..., :100], 6, axis=2)
    alone, grouped = (
        draw_errors(IMAGES, wrong, groups, np.random.default_rng(1)).std(axis=0)[-1]
        for groups in (None, np.arange(TESTED) // 6)
    )
    assert grouped > 1.7 * alone


def test_a_panel_that_learns_nothing_more_is_not_forecast_to() -> None:
    flat = np.ones((7, DRAWS, TESTED), dtype=bool)
    flat[..., :60] = False
    amount = forecast(flat)
    assert amount.gains[0].high < 0.001
    assert "will hardly help" in amount.sentence


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.004, 0.02, "points (95 % interval 0.4 to 2.0)"), (0.0, 0.02, "next to nothing"), (0.0, 0.004, "hardly")],
)
def test_the_sentence_says_what_the_interval_allows(low: float, high: float, words: str) -> None:
    amount = forecast(draw_correct(np.random.default_rng(0)))
    gain = replace(amount.gains[0], value=high / 2, low=low, high=high)
    assert words in replace(amount, gains=(gain,)).sentence
    assert "1,000 more training images (twice as many)" in amount.sentence
