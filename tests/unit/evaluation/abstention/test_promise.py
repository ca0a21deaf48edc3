from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from triptych.errors import ConfigError
from triptych.evaluation.abstention.promise import (
    count_needed,
    draw_independent,
    find_threshold,
    measure_coverage,
    require_threshold,
    trace_risk,
)
from triptych.evaluation.predictions import Predictions


def draw(rng: np.random.Generator, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return confidences in 0..1, and whether each is correct: errors are rarer where the confidence is high."""
    confidence = rng.random(images)
    return confidence, rng.random(images) > 0.2 * (1 - confidence) ** 2


def predict(confidence: np.ndarray, correct: np.ndarray, groups: np.ndarray | None = None) -> Predictions:
    """Return predictions of two classes with these confidences, 0.5 to 1."""
    probabilities = np.stack([confidence, 1.0 - confidence], axis=1)
    return Predictions(np.arange(len(correct)), np.where(correct, 0, 1), probabilities, groups=groups)


@pytest.mark.parametrize("rate", [0.01, 0.02, 0.1])
def test_as_many_images_are_needed_as_both_exact_tests_say(rate: float) -> None:
    needed = count_needed(rate)
    assert binomtest(0, needed, rate, "less").pvalue <= 0.05
    # Fisher's: none wrong among `answered`, and the fewest that break the promise among twice as many.
    tables = [
        [[0, answered], [(broken := int(rate * 2 * answered + 1e-9) + 1), 2 * answered - broken]]
        for answered in (needed - 1, needed, needed + 1)
    ]
    assert [fisher_exact(table, "less").pvalue <= 0.05 for table in tables] == [False, True, True]


def test_the_answers_that_are_promised_pass_the_exact_test() -> None:
    confidence, correct = draw(np.random.default_rng(0), 2000)
    threshold = find_threshold(confidence, correct, 0.02)
    answered = confidence > threshold
    errors = int((~correct[answered]).sum())
    assert binomtest(errors, int(answered.sum()), 0.02, "less").pvalue <= 0.05
    assert answered.mean() > 0.4


def test_the_promise_is_broken_in_at_most_one_of_twenty_draws() -> None:
    rng, broken = np.random.default_rng(1), []
    for _ in range(100):
        threshold = find_threshold(*draw(rng, 400), 0.02)
        confidence, correct = draw(rng, 800)
        answered = confidence > (1.0 if threshold is None else threshold)
        # The rate of errors above a confidence t is the mean of 0.2 (1 - c)^2 over t < c < 1.
        rate = 0.2 * (1 - threshold) ** 2 / 3 if threshold is not None else 0.0
        broken.append((rate > 0.02, bool(answered.any() and (~correct[answered]).mean() > 0.02)))
    assert (np.mean(broken, axis=0) <= 0.05).all()


def test_frames_of_a_burst_count_as_one_image() -> None:
    """Where five frames are right or wrong together, counting each of them breaks the promise far more often."""
    rng, broken = np.random.default_rng(2), []
    for _ in range(40):
        confidence, correct = draw(rng, 400)
        groups = np.repeat(np.arange(400), 5)
        bursts = predict((1.0 + confidence[groups]) / 2.0, correct[groups], groups)
        tested, right = draw(rng, 800)
        row = []
        for some in (draw_independent(bursts), (bursts.confidence, bursts.correct)):
            threshold = find_threshold(*some, 0.02)
            answered = (1.0 + tested) / 2.0 > (1.0 if threshold is None else threshold)
            row.append(bool(answered.any() and (~right[answered]).mean() > 0.02))
        broken.append(row)
    grouped, ungrouped = np.mean(broken, axis=0)
    assert grouped <= 0.05
    assert ungrouped > 0.1


def test_one_image_of_each_group_is_drawn_at_random() -> None:
    groups = np.repeat([7, 3, 5], [1, 300, 2])
    frames = predict(np.linspace(0.5, 1.0, 303), np.ones(303, dtype=bool), groups)
    confidence, _ = draw_independent(frames)
    drawn = np.searchsorted(np.linspace(0.5, 1.0, 303), confidence - 1e-9)
    assert groups[drawn].tolist() == [3, 5, 7]
    assert 10 < drawn[0] < 290
    assert len(draw_independent(replace(frames, groups=None))[0]) == 303


def test_equal_confidences_are_answered_together_or_not_at_all() -> None:
    correct = np.arange(400) % 4 > 0
    assert find_threshold(np.full(400, 0.9), correct, 0.02) is None
    assert find_threshold(np.full(400, 0.9), np.ones(400, dtype=bool), 0.02) == 0.0


def test_what_cannot_be_promised_says_what_can() -> None:
    few = predict(np.linspace(1, 0.5, 60), np.ones(60, dtype=bool))
    wrong = predict(np.linspace(1, 0.5, 400), np.arange(400) % 2 > 0)
    bursts = predict(np.linspace(1, 0.5, 600), np.ones(600, dtype=bool), np.arange(600) // 10)
    nothing = predict(np.empty(0), np.empty(0, dtype=bool))
    for validated, words in (
        (few, r"it takes 175 validation images without an error, and there are 60; --error-at-most 10% can"),
        (bursts, r"it takes 175 groups of validation images without an error, and there are 60; --error-at-most 10% "),
        (wrong, r"too many of the most confident validation images are wrong \(400 validation images\)"),
        (nothing, r"it takes 175 validation images without an error, and there are 0; nor can"),
    ):
        with pytest.raises(ConfigError, match=f"--error-at-most 2% cannot be promised: {words}"):
            require_threshold(validated, 0.02)


def test_coverage_and_risk_are_counted() -> None:
    validated = np.linspace(1.0, 0.5, 300), np.arange(300) < 200
    tested = np.array([0.99, 0.98, 0.6]), np.array([True, False, False])
    assert measure_coverage(validated, tested, 0.02) == {"coverage": 2 / 3, "error": 0.5}
    assert measure_coverage((tested[0], tested[1]), tested, 0.02) == {"coverage": 0.0}
    coverage, accuracy = trace_risk(*tested)
    assert coverage.tolist() == [1 / 3, 2 / 3, 1.0]
    assert accuracy.tolist() == [1.0, 0.5, 1 / 3]
