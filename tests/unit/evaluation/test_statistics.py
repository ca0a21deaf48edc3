"""The statistics against other implementations, and what they promise against simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, bootstrap, false_discovery_control

from triptych.evaluation.calibration import apply_temperature, bin_confidences, fit_temperature
from triptych.evaluation.metrics import brier_score, expected_calibration_error, measure_classes
from triptych.evaluation.pairs import compare_pairs, decide
from triptych.evaluation.statistics import (
    adjust_p_values,
    bootstrap_interval,
    compare_pair,
    mcnemar_p_value,
    wilson_interval,
)

TABLES = 100


def number(repeats: np.ndarray) -> dict[int, np.ndarray]:
    return dict(enumerate(repeats))


@pytest.mark.parametrize("seed", range(TABLES))
def test_mcnemar_is_the_doubled_binomial_tail(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, rng.integers(5, 400))) < rng.random((2, 1))
    b, c = int((first & ~second).sum()), int((second & ~first).sum())
    # As statsmodels' `mcnemar(exact=True)` computes it.
    expected = min(1.0, 2.0 * binom.cdf(min(b, c), b + c, 0.5)) if b + c else 1.0
    assert mcnemar_p_value(first, second) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(TABLES))
def test_wilson_is_its_closed_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = int(rng.integers(1, 2000))
    right = int(rng.integers(0, images + 1))
    z, share = 1.959963984540054, right / images
    centre = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * np.sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
    assert wilson_interval(right, images, 0.95) == pytest.approx((centre - half, centre + half), abs=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_the_bootstrap_agrees_with_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    differences = rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], size=300, p=[0.05, 0.1, 0.6, 0.15, 0.1])
    theirs = bootstrap((differences,), np.mean, n_resamples=9999, method="percentile", rng=seed).confidence_interval
    assert bootstrap_interval(differences, 0.95) == pytest.approx((theirs.low, theirs.high), abs=0.005)


@pytest.mark.parametrize("seed", range(TABLES))
def test_holm_steps_down(seed: int) -> None:
    p_values = np.random.default_rng(seed).random(7) ** 3
    adjusted = adjust_p_values(p_values)
    # By the definition: reject in order until the first that is too large, at every level.
    for level in (0.01, 0.05, 0.2):
        order, rejected = np.argsort(p_values), np.zeros(7, dtype=bool)
        for position, index in enumerate(order):
            if p_values[index] > level / (7 - position):
                break
            rejected[index] = True
        assert (adjusted <= level).tolist() == rejected.tolist()
    assert (adjusted >= false_discovery_control(p_values) - 1e-12).all(), "Holm is stricter than Benjamini-Hochberg"


def test_every_repeat_must_show_a_difference() -> None:
    right = np.ones(40, dtype=bool)
    worse = right.copy()
    worse[:20] = False
    shown = compare_pair(np.stack([right, right]), np.stack([worse, worse]), 0.95)
    hidden = compare_pair(np.stack([right, right]), np.stack([worse, right]), 0.95)
    assert shown.p_value < 1e-5
    assert hidden.p_value == 1.0
    assert (shown.difference, shown.only_first, shown.only_second) == (0.5, 20.0, 0.0)
    assert shown.low < 0.5 < shown.high
    with pytest.raises(ValueError, match="same repeats"):
        compare_pair(np.ones((1, 40), dtype=bool), np.ones((2, 40), dtype=bool), 0.95)


def test_the_temperature_undoes_what_overconfidence_did() -> None:
    rng = np.random.default_rng(0)
    honest = rng.dirichlet([0.6, 0.6, 0.6], size=20_000)
    labels = (honest.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    overconfident = apply_temperature(honest, 1 / 3)
    assert fit_temperature(labels, honest) == pytest.approx(1.0, abs=0.05)
    assert fit_temperature(labels, overconfident) == pytest.approx(3.0, abs=0.1)
    before = expected_calibration_error(labels, overconfident, 15)
    after = expected_calibration_error(labels, apply_temperature(overconfident, 3.0), 15)
    assert before > 0.1
    assert after < 0.02
    assert (apply_temperature(overconfident, 3.0).argmax(axis=1) == honest.argmax(axis=1)).all()


def test_bins_hold_every_image_once() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet([1.0] * 4, size=500)
    labels = rng.integers(0, 4, size=500)
    assert sum(part.images for part in bin_confidences(labels, probabilities, 10)) == 500


def test_brier_and_classes_by_hand() -> None:
    labels, probabilities = np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.6, 0.4], [0.0, 1.0]])
    assert brier_score(labels, probabilities) == pytest.approx((0.08 + 0.72 + 0.0) / 3)
    first, second = measure_classes(labels, probabilities.argmax(axis=1), 2)
    assert (first["precision"], first["recall"], first["images"]) == (0.5, 1.0, 1.0)
    assert (second["precision"], second["recall"], second["images"]) == (1.0, 0.5, 2.0)


def test_the_verdict_names_the_winner_and_whose_difference_could_be_chance() -> None:
    right = np.ones((1, 200), dtype=bool)
    near, far = right.copy(), right.copy()
    near[0, :2] = False
    far[0, :60] = False
    pairs = compare_pairs(
        {"best": dict(enumerate(right)), "near": dict(enumerate(near)), "far": dict(enumerate(far))},
        ["best", "near", "far"],
        0.95,
    )
    assert [pair.separated for pair in pairs] == [False, True, True]
    verdict = decide("best", 1.0, pairs, 200, 0.95)
    assert verdict == (
        "best leads with 1.0000 on 200 test images, "
        "but its lead over near could be chance; it is significantly better than far."
    )
    [won] = compare_pairs({"best": number(right), "far": number(far)}, ["best", "far"], 0.95)
    assert decide("best", 1.0, [won], 200, 0.95).startswith("best wins with 1.0000 on 200 test images, 30.00 points")
    assert "no other panel" in decide("best", 1.0, [], 200, 0.95)
