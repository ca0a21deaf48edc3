"""How far a figure that was measured on some images can be trusted, and whether two panels really differ.

Panels are compared image by image: all of them see the same test images, so what both get right, or both get
wrong, says nothing about their difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

# Resamples of a bootstrap; the last digit that is printed of a bound doesn't depend on them.
RESAMPLES = 20_000
# The bootstrap repeats itself exactly: the same predictions give the same bounds.
BOOTSTRAP_SEED = 0

Correct = NDArray[np.bool_]


@dataclass(frozen=True)
class PairedDifference:
    """How much more accurate one panel is than another on the same images.

    Attributes:
        difference: of the mean accuracies over the repeats, the first's minus the second's.
        low: lower bound of its paired bootstrap interval: what other images of the same kind might have shown.
        high: upper bound.
        p_value: of the exact McNemar test; with several repeats the largest of theirs.
        only_first: images that the first gets right and the second wrong, mean over the repeats.
        only_second: the other way round.
    """

    difference: float
    low: float
    high: float
    p_value: float
    only_first: float
    only_second: float


def wilson_interval(right: int, images: int, confidence_level: float) -> tuple[float, float]:
    """Return Wilson's score interval of an accuracy (Wilson 1927; `scipy.stats.binomtest`).

    >>> low, high = wilson_interval(right=8, images=10, confidence_level=0.95)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    interval = binomtest(right, images).proportion_ci(confidence_level, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar_p_value(first: Correct, second: Correct) -> float:
    """Return the two-sided p-value of the exact McNemar test (McNemar 1947).

    Among the images that just one of two classifiers gets right, either is equally likely to be that one if they
    are equally accurate: a binomial test with probability 1/2.

    Args:
        first: (n,) bool, which images the first classifier gets right.
        second: (n,) bool, the same images for the second.

    >>> mcnemar_p_value(np.array([True] * 6 + [False]), np.array([False] * 6 + [True]))
    0.125
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


def bootstrap_interval(differences: NDArray[np.floating[Any]], confidence_level: float) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean (Efron 1979).

    Accuracies take few values, so drawing the images anew is drawing how often each value appears: a multinomial
    sample, the same distribution at a fraction of the time.

    Args:
        differences: (n,), an entry an image.
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

    With several repeats, repeat i of the one is tested against repeat i of the other, and the largest p-value
    counts: a difference is claimed only if every repeat shows it (an intersection-union test, Berger 1982).

    Args:
        first: (repeats, n) bool, which images each repeat of the first gets right.
        second: (repeats, n) bool, for the second.
        confidence_level: of the interval.

    Raises:
        ValueError: the shapes differ.
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
    """Return p-values for the whole family of tests, in their own order (Holm 1979).

    >>> adjust_p_values([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    adjusted = np.empty_like(given)
    stepped = given[order] * np.arange(len(given), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted
