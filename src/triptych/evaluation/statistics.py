"""Confidence intervals of an accuracy, and the test of whether two panels differ.

All panels see the same test images, so they are compared in pairs: an image that both classify correctly, or both
incorrectly, carries no information about the difference.

Two things are random: the test images, and the seeds of the trainings. The model is that of several readers who all
read the same cases, where both are random and crossed (Gallas, Pennello, Myers, "Multireader multicase variance
analysis for binary data", 2007). Equal seeds of two panels share neither weights nor luck, so that the repeats of one
panel are independent of those of the other. With few repeats the variance between trainings is known badly, and one
t-distribution with Satterthwaite's degrees of freedom finds equal methods different in up to 13 % of comparisons of two
repeats. Therefore each source has a margin of error of its own, and the two add in quadrature (Howe, "Approximate
confidence limits on the mean of X + Y", 1974; Zou, Donner, "Construction of confidence intervals about effect
measures", 2008). `make simulate` measures what this promises.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, stdtr, stdtrit
from scipy.stats import binomtest

# Smaller p-values are not told apart: Student's quantiles would overflow.
SMALLEST_P_VALUE = 1e-100

Correct = NDArray[np.bool_]
Groups = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """How much a difference in accuracy varies over test sets and over trainings.

    Attributes:
        image_variance: over test sets of this size, classified by these trainings.
        groups: number of independent groups of test images; the number of images if each stands alone.
        seed_variance: over trainings, without what the choice of the images adds; 0 where it is unknown.
        seed_degrees: its degrees of freedom.
    """

    image_variance: float
    groups: int
    seed_variance: float = 0.0
    seed_degrees: float = 1.0

    @property
    def variance(self) -> float:
        """The variance of the difference."""
        return self.image_variance + self.seed_variance

    def margin(self, level: float) -> float:
        """Return half the width of the interval with this error probability, infinite if there are too few images.

        The variance over images is that of the score test, at the bound and not at the estimate.
        """
        images, seeds = self._square_quantiles(level)
        if images >= self.groups:
            return inf
        return sqrt((images * self.image_variance + seeds * self.seed_variance) / (1.0 - images / self.groups))

    def p_value(self, difference: float) -> float:
        """Return the smallest level whose interval around the difference excludes 0; two-sided."""

        def exceed(log_level: float) -> float:
            images, seeds = self._square_quantiles(exp(log_level))
            at_zero = self.image_variance + difference**2 / self.groups
            return images * at_zero + seeds * self.seed_variance - difference**2

        if difference == 0.0 or self.groups < 2:
            return 1.0
        if exceed(log(SMALLEST_P_VALUE)) < 0.0:
            return SMALLEST_P_VALUE
        return exp(brentq(exceed, log(SMALLEST_P_VALUE), 0.0))

    def _square_quantiles(self, level: float) -> tuple[float, float]:
        """Return the squared two-sided quantiles of Student's t for images and for seeds."""
        images, seeds = stdtrit([max(self.groups - 1, 1), self.seed_degrees], level / 2.0)
        return float(images) ** 2, float(seeds) ** 2


@dataclass(frozen=True)
class PairedDifference:
    """The difference in accuracy between two panels on the same images.

    With one repeat it is the difference of two trained networks, and only the test images are random. With several it
    is the difference of two methods, and the seeds are random too.

    Attributes:
        difference: mean accuracy over the repeats, the first panel's minus the second's.
        low: lower bound of its interval.
        high: upper bound.
        p_value: two-sided; below 1 - confidence level exactly where the interval excludes 0.
        only_first: number of images that only the first classifies correctly, mean over the repeats.
        only_second: number of images that only the second classifies correctly, mean over the repeats.
        repeats: number of trainings of each panel: its repeats, times the folds of a cross-validation.
        first_ahead: probability that a new training of the first classifies more of these images correctly than a new
            training of the second; None with one repeat, and with folds.
        spread: what the interval and the p-value are computed from.
    """

    difference: float
    low: float
    high: float
    p_value: float
    only_first: float
    only_second: float
    repeats: int
    first_ahead: float | None
    spread: Spread

    @property
    def agree(self) -> bool:
        """Whether both panels classify the same images correctly in every repeat."""
        return self.only_first == self.only_second == 0.0

    def interval(self, confidence_level: float) -> tuple[float, float]:
        """Return the interval at a confidence level, clipped to -1..1."""
        return bound_difference(self.difference, self.spread.margin(1.0 - confidence_level))


def bound_difference(difference: float, margin: float) -> tuple[float, float]:
    """Return the bounds of an interval of a difference in accuracy, clipped to -1..1."""
    return max(difference - margin, -1.0), min(difference + margin, 1.0)


def measure_clustering(values: NDArray[np.floating[Any]], groups: Groups | None) -> float:
    """Return the design effect, at least 1: how many times larger groups make the variance of a mean (Kish 1965).

    Args:
        values: (n,), one for each image.
        groups: (n,) int64, the group of each image; None if every image stands alone.

    >>> measure_clustering(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0, 0, 1, 1]))
    2.0
    >>> measure_clustering(np.ones(6), np.array([0, 0, 0, 1, 1, 1]))
    3.0
    """
    if groups is None:
        return 1.0
    centred = values - values.mean()
    _, position = np.unique(groups, return_inverse=True)
    alone = float((centred**2).sum())
    if not alone:
        # Equal values do not show how alike the images of a group are: a group counts as one image.
        return len(values) / float(position.max() + 1)
    return max(1.0, float((np.bincount(position, weights=centred) ** 2).sum()) / alone)


def wilson_interval(right: int, images: int, confidence_level: float, clustering: float = 1.0) -> tuple[float, float]:
    """Return Wilson's score interval of an accuracy (Wilson 1927; `scipy.stats.binomtest`).

    Args:
        right: number of images classified correctly.
        images: number of all images.
        confidence_level: of the interval, two-sided.
        clustering: the design effect of the groups that the images come in: so many images count as one.

    >>> low, high = wilson_interval(right=8, images=10, confidence_level=0.95)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    independent = max(1, round(images / clustering))
    interval = binomtest(round(right / images * independent), independent).proportion_ci(confidence_level, "wilson")
    return float(interval.low), float(interval.high)


def compare_pair(
    first: Correct, second: Correct, confidence_level: float, groups: Groups | None = None
) -> PairedDifference:
    """Compare two panels on the same test images; with several repeats as methods, with one as trained networks.

    The interval and the p-value come from one model. With one repeat it is the score test of paired proportions, with
    an image added for each panel that only this one classifies correctly, so that the level holds where few images
    differ (Bonett, Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired
    data", 2012, after Agresti, Min, 2005).

    Args:
        first: (repeats, n) bool, which images each repeat of the first panel classifies correctly.
        second: (repeats, n) bool, the same for the second panel.
        confidence_level: of the interval, two-sided.
        groups: (n,) int64, the group of each image: images of one group, such as the frames of a burst, are not
            independent. None if every image stands alone.

    Raises:
        ValueError: the shapes differ.

    >>> compare_pair(np.array([[True, True, False]]), np.array([[True, False, False]]), 0.95).only_first
    1.0
    """
    if first.shape != second.shape:
        raise ValueError(f"paired panels need the same repeats and images: {first.shape} and {second.shape}")
    repeats = len(first)
    one, other = (_decompose(panel, groups) for panel in (first, second))
    # Where nothing is drawn in the trainings, all repeats are one.
    different = repeats if one.variance or other.variance else 1
    spread = Spread(
        _find_image_variance(one.effects - other.effects, first.shape[1], different),
        len(one.effects),
        one.seed_variance + other.seed_variance,
        _count_degrees(one.seed_variance, other.seed_variance, repeats),
    )
    difference = float(first.mean() - second.mean())
    low, high = bound_difference(difference, spread.margin(1.0 - confidence_level))
    return PairedDifference(
        difference=difference,
        low=low,
        high=high,
        p_value=spread.p_value(difference),
        only_first=float((first & ~second).sum(axis=1).mean()),
        only_second=float((second & ~first).sum(axis=1).mean()),
        repeats=repeats,
        first_ahead=predict_order(difference, (one.variance, other.variance), repeats) if repeats > 1 else None,
        spread=spread,
    )


@dataclass(frozen=True)
class _Components:
    """The components of a panel's accuracy.

    Attributes:
        effects: (groups,) float64, by how many correct images more than expected each group has, mean over the repeats.
        variance: of the accuracy over trainings on these images, at least what the disagreement of the trainings
            on single images makes of it; 0 where all repeats are alike.
        seed_variance: of the mean accuracy over the repeats, without what the choice of the images adds to it.
    """

    effects: Floats
    variance: float = 0.0
    seed_variance: float = 0.0


def _decompose(correct: Correct, groups: Groups | None) -> _Components:
    repeats, images = correct.shape
    accuracies = correct.mean(axis=1)
    effects: Floats = correct.mean(axis=0) - accuracies.mean()
    # The sum over repeats and groups of the squared deviations from a repeat's accuracy.
    squares = images * float((accuracies * (1.0 - accuracies)).sum())
    if groups is not None:
        codes = np.unique(groups, return_inverse=True)[1]
        effects = np.asarray(np.bincount(codes, weights=effects))
        squares = sum(float((np.bincount(codes, weights=row - row.mean()) ** 2).sum()) for row in correct)
    if (correct == correct[0]).all():
        return _Components(effects)
    noise = max(squares - repeats * float((effects**2).sum()), 0.0) / (repeats - 1) / images**2
    found = float(accuracies.var(ddof=1))
    return _Components(effects, max(found, noise), max(found - noise, 0.0) / repeats)


def _find_image_variance(effects: Floats, images: int, repeats: int) -> float:
    """Return the variance of a difference over test sets, as if there were two groups more.

    In one of them only the first panel is correct, in the other only the second, and in only one of the repeats.
    """
    added = 2.0 * (images / len(effects) / repeats) ** 2
    return (float((effects**2).sum()) + added) / images**2


def _count_degrees(first: float, second: float, repeats: int) -> float:
    """Return the degrees of freedom of a sum of two variances of means (Welch 1947); 1 where both are 0.

    >>> _count_degrees(1.0, 1.0, repeats=5), _count_degrees(1.0, 0.0, repeats=5)
    (8.0, 4.0)
    """
    return (repeats - 1) * (first + second) ** 2 / (first**2 + second**2) if first + second else 1.0


def predict_order(difference: float, variances: tuple[float, float], repeats: int) -> float:
    """Return the probability that a new training of one panel is more accurate than a new one of another.

    Bouthillier et al., "Accounting for variance in machine learning benchmarks", 2021, recommend this quantity. They
    count pairs, and would have 1 for two repeats in order; here it is Student's predictive distribution, which knows
    how few the repeats are.

    Args:
        difference: mean accuracy over the repeats, the first panel's minus the second's.
        variances: of each panel's accuracy over its trainings.
        repeats: number of trainings of each panel, at least two.

    >>> round(predict_order(0.02, (5e-5, 5e-5), repeats=2), 2), predict_order(0.02, (0.0, 0.0), repeats=2)
    (0.88, 1.0)
    """
    if not sum(variances):
        return 0.5 + 0.5 * float(np.sign(difference))
    deviation = sqrt(sum(variances) * (1.0 + 1.0 / repeats))
    return float(stdtr(_count_degrees(*variances, repeats), difference / deviation))


def expect_lead(deviation: float, panels: int) -> float:
    """Return by how much the best of several equally good panels exceeds their mean, on average: the winner's curse.

    Args:
        deviation: standard deviation of a panel's accuracy about their mean.
        panels: number of panels.

    >>> round(expect_lead(0.01, 2), 4), round(expect_lead(0.01, 10), 4)
    (0.0056, 0.0154)
    """
    edges = np.linspace(-9.0, 9.0, 3601)
    # The largest of several independent values is below an edge if all of them are.
    shares = np.diff(ndtr(edges) ** panels)
    return deviation * float(((edges[1:] + edges[:-1]) / 2.0) @ shares)


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


def spell_p(p_value: float) -> str:
    """Return a p-value as sentences print it.

    >>> spell_p(0.0123), spell_p(0.0)
    ('p = 0.012', 'p < 1e-100')
    """
    return f"p < {SMALLEST_P_VALUE:.0e}" if p_value < SMALLEST_P_VALUE else f"p = {p_value:.2g}"
