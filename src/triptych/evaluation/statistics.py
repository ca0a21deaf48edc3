"""Confidence intervals of an accuracy, and tests of whether two panels differ.

All panels see the same test images, so they are compared in pairs: images that both classify correctly, or both
incorrectly, carry no information about the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

# Resamples of a bootstrap; enough for the last printed digit of a bound.
RESAMPLES = 20_000
# Fixed, so that the same predictions give the same bounds.
BOOTSTRAP_SEED = 0

Correct = NDArray[np.bool_]


@dataclass(frozen=True)
class PairedDifference:
    """The difference in accuracy between two panels on the same images.

    Attributes:
        difference: mean accuracy over the repeats, the first panel's minus the second's.
        low: lower bound of its paired bootstrap interval, which covers the sampling error of the test set.
        high: upper bound.
        p_value: of the exact McNemar test; the largest one over the repeats.
        only_first: number of images that only the first classifies correctly, mean over the repeats.
        only_second: number of images that only the second classifies correctly, mean over the repeats.
    """

    difference: float
    low: float
    high: float
    p_value: float
    only_first: float
    only_second: float


def wilson_interval(right: int, images: int, confidence_level: float) -> tuple[float, float]:
    """Return Wilson's score interval of an accuracy (Wilson 1927; `scipy.stats.binomtest`).

    Args:
        right: number of images classified correctly.
        images: number of all images.
        confidence_level: of the interval, two-sided.

    >>> low, high = wilson_interval(right=8, images=10, confidence_level=0.95)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    interval = binomtest(right, images).proportion_ci(confidence_level, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar_p_value(first: Correct, second: Correct) -> float:
    """Return the two-sided p-value of the exact McNemar test (McNemar 1947).

    If two classifiers are equally accurate, an image that only one of them classifies correctly is equally likely to
    be the one's or the other's: a binomial test with probability 1/2.

    Args:
        first: (n,) bool, which images the first classifies correctly.
        second: (n,) bool, which of the same images the second classifies correctly.

    >>> mcnemar_p_value(np.array([True] * 6 + [False]), np.array([False] * 6 + [True]))
    0.125
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


def bootstrap_interval(differences: NDArray[np.floating[Any]], confidence_level: float) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean (Efron 1979).

    The differences take few distinct values, so instead of resampling images it draws how often each value occurs: a
    multinomial sample, which has the same distribution and is much faster.

    Args:
        differences: (n,), one for each image.
        confidence_level: of the interval, two-sided.
    """
    values, counts = np.unique(differences, return_counts=True)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    samples = rng.multinomial(len(differences), counts / len(differences), size=RESAMPLES)
    tail = (1.0 - confidence_level) / 2.0
    low, high = np.quantile(samples @ values / len(differences), [tail, 1.0 - tail])
    return float(low), float(high)


def compare_pair(first: Correct, second: Correct, confidence_level: float) -> PairedDifference:
    """Compare two panels on the same test images.

    With several repeats, repeat i of one panel is tested against repeat i of the other and the largest p-value is
    kept: a difference is claimed only if every repeat shows it (an intersection-union test, Berger 1982).

    Args:
        first: (repeats, n) bool, which images each repeat of the first panel classifies correctly.
        second: (repeats, n) bool, the same for the second panel.
        confidence_level: of the interval, two-sided.

    Raises:
        ValueError: the shapes differ.

    >>> compare_pair(np.array([[True, True, False]]), np.array([[True, False, False]]), 0.95).only_first
    1.0
    """
    if first.shape != second.shape:
        raise ValueError(f"paired panels need the same repeats and images: {first.shape} and {second.shape}")
    differences = first.mean(axis=0) - second.mean(axis=0)
    low, high = bootstrap_interval(differences, confidence_level)
    return PairedDifference(
        difference=float(differences.mean()),
        low=low,
        high=high,
        p_value=max(mcnemar_p_value(one, other) for one, other in zip(first, second, strict=True)),
        only_first=float((first & ~second).sum(axis=1).mean()),
        only_second=float((second & ~first).sum(axis=1).mean()),
    )


def adjust_p_values(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values adjusted for multiple testing, in the given order (Holm 1979).

    >>> adjust_p_values([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    adjusted = np.empty_like(given)
    stepped = given[order] * np.arange(len(given), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted
