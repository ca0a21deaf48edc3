from __future__ import annotations

import numpy as np

from triptych.evaluation.predictions import Predictions
from triptych.evaluation.promotion import judge

LEVEL = 0.95


def predictions(correct: np.ndarray) -> Predictions:
    probabilities = np.where(correct[:, None], [[1.0, 0.0]], [[0.0, 1.0]])
    return Predictions(np.arange(len(correct)), np.zeros(len(correct), dtype=np.int64), probabilities)


def test_false_promotions_stay_below_the_level() -> None:
    rng = np.random.default_rng(0)
    simulations, images, promoted = 250, 150, 0
    for _ in range(simulations):
        accuracy = rng.uniform(0.6, 0.98)
        first, second = rng.random((2, images)) < accuracy
        promoted += judge(predictions(first), predictions(second), LEVEL).promoted
    # A challenger that is no better: at most half of 5 %, and three standard errors of the simulation.
    allowed = (1.0 - LEVEL) / 2.0
    assert promoted / simulations <= allowed + 3.0 * np.sqrt(allowed * (1.0 - allowed) / simulations)


def test_a_better_challenger_is_promoted_and_other_images_are_never_compared() -> None:
    better, worse = np.ones(100, dtype=bool), np.arange(100) >= 20
    assert judge(predictions(better), predictions(worse), LEVEL).promoted
    assert not judge(predictions(worse), predictions(better), LEVEL).promoted
    assert "different images" in judge(predictions(better), predictions(worse[:90]), LEVEL).reason
