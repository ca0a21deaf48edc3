"""The statistics against other implementations, and what they promise against simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, bootstrap, false_discovery_control

from triptych.evaluation.statistics import (
    adjust_p_values,
    bootstrap_interval,
    compare_pair,
    mcnemar_p_value,
    wilson_interval,
)

TABLES = 50


def test_mcnemar_is_the_doubled_binomial_tail() -> None:
    for seed in range(TABLES):
        rng = np.random.default_rng(seed)
        first, second = rng.random((2, rng.integers(5, 400))) < rng.random((2, 1))
        b, c = int((first & ~second).sum()), int((second & ~first).sum())
        # As statsmodels' `mcnemar(exact=True)` computes it.
        expected = min(1.0, 2.0 * binom.cdf(min(b, c), b + c, 0.5)) if b + c else 1.0
        assert mcnemar_p_value(first, second) == pytest.approx(expected, abs=1e-12)


def test_wilson_is_its_closed_form() -> None:
    for seed in range(TABLES):
        rng = np.random.default_rng(seed)
        images = int(rng.integers(1, 2000))
        right = int(rng.integers(0, images + 1))
        z, share = 1.959963984540054, right / images
        centre = (share + z**2 / (2 * images)) / (1 + z**2 / images)
        half = z / (1 + z**2 / images) * np.sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
        assert wilson_interval(right, images, 0.95) == pytest.approx((centre - half, centre + half), abs=1e-9)


def test_the_bootstrap_agrees_with_scipys() -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        differences = rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], size=300, p=[0.05, 0.1, 0.6, 0.15, 0.1])
        theirs = bootstrap((differences,), np.mean, n_resamples=9999, method="percentile", rng=seed).confidence_interval
        assert bootstrap_interval(differences, 0.95) == pytest.approx((theirs.low, theirs.high), abs=0.005)


def test_holm_steps_down() -> None:
    for seed in range(TABLES):
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
