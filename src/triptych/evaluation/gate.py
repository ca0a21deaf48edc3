"""The gate that a challenger passes to become champion: exact tests, and an error budget for the life of a board.

Every night a challenger may come, and each test of one on the test set can go wrong. A board therefore has one budget
for the probability of a wrong promotion, and each time its test set is opened for a decision a share of what is left
is spent (alpha spending, Lan & DeMets 1983). However many nights there are, the shares sum to no more than the budget.

How large a share is, the validation set decides, which says nothing about the test set's sampling error: the clearer
the challenger wins there, the larger (weighted testing, Genovese, Roeder & Wasserman 2006). One that does not win
there never opens the test set. So that something is left after years, the budget is handed out in allotments, a smaller
one each time the test set was opened so and so often.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import zeta
from scipy.stats import binom, norm

from triptych.evaluation.statistics import Correct, Groups, measure_clustering

# A challenger with a larger p-value on the validation set does not open the test set. Of equally good ones on large
# sets three in ten open it, but hardly spend: the share is FULL_SHARE_P / p. Simulated over 30 nights with 252
# validation and 540 test images, other values find a challenger that is three points better no more often by more than
# two in a hundred, or leave nothing after a year.
SCREEN = 0.3
FULL_SHARE_P = 0.003
LARGEST_SHARE = 0.5
# A board of equally good challengers opens its test set about 75 times a year. The first allotment is three quarters.
LOOKS_OF_AN_ALLOTMENT = 75
DECAY = 2.5


@dataclass(frozen=True)
class SignTest:
    """The exact one-sided test of whether the first of two models is correct more often on the same images.

    If the models are equally good, every group of images is as likely to favour the one as the other by its margin. So
    the sum of the margins is distributed as if each had a random sign (Fisher 1935). Without groups this is McNemar's
    exact test (McNemar 1947).

    Attributes:
        wins: number of images that only the first classifies correctly.
        losses: number of images that only the second classifies correctly.
        tails: (s + 1,) float64, where s is the sum of all absolute margins: at index t the probability that the sum is
            at least t, given only how large the margins are.
    """

    wins: int
    losses: int
    tails: NDArray[np.float64]

    @property
    def statistic(self) -> int:
        """By how many images the first is ahead."""
        return self.wins - self.losses

    @property
    def p_value(self) -> float:
        """Probability of a lead at least as large if the models are equally good."""
        return float(self.tails[self.statistic]) if self.statistic > 0 else 1.0


def compare_signs(first: Correct, second: Correct, groups: Groups | None = None) -> SignTest:
    """Return the test of whether the first of two models is better.

    Args:
        first: (n,) bool, which images the first classifies correctly.
        second: (n,) bool, which of the same images the second classifies correctly.
        groups: (n,) int64, the group of each image; None if every image is its own.

    >>> round(compare_signs(np.array([True] * 6 + [False]), np.array([False] * 6 + [True])).p_value, 6)
    0.0625
    """
    margins = first.astype(np.int64) - second.astype(np.int64)
    wins, losses = int((margins > 0).sum()), int((margins < 0).sum())
    if groups is not None:
        _, position = np.unique(groups, return_inverse=True)
        margins = np.bincount(position, weights=margins).astype(np.int64)
    sizes, counts = np.unique(np.abs(margins[margins != 0]), return_counts=True)
    chances = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        steps = np.zeros(2 * size * count + 1)
        steps[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, steps)
    # Summed from the smallest; the first half are the sums below zero.
    tails = np.cumsum(chances[::-1])[::-1][len(chances) // 2 :]
    return SignTest(wins, losses, tails)


def allot_budget(budget: float, opened: int) -> float:
    """Return how much of the budget may have been spent once the test set was opened so often.

    >>> [round(allot_budget(0.05, opened), 4) for opened in (0, 75, 150, 10_000)]
    [0.0373, 0.0439, 0.0463, 0.05]
    """
    allotments = np.arange(1, 2 + opened // LOOKS_OF_AN_ALLOTMENT, dtype=np.float64)
    return budget * float((allotments**-DECAY).sum() / zeta(DECAY))


def choose_share(p_value: float) -> float:
    """Return the share of what is left of the budget that a challenger may spend; 0 keeps the test set closed.

    Args:
        p_value: of the challenger against the champion on the validation set.

    >>> choose_share(0.5), round(choose_share(0.03), 3), choose_share(0.0001)
    (0.0, 0.1, 0.5)
    """
    return min(LARGEST_SHARE, FULL_SHARE_P / p_value) if p_value < SCREEN else 0.0


def choose_lead(test: SignTest, wanted: float, left: float) -> tuple[int, float]:
    """Return the smallest lead, in images, that promotes a challenger, and the probability that it would be wrong.

    Few probabilities are possible with few images. The one that is closest to what is wanted is taken, and just that
    is spent. It depends on how many images decide, but not on which of the models they favour.

    Args:
        test: of the challenger against the champion on the test set.
        wanted: probability of a wrong promotion that may be spent.
        left: of the budget.

    >>> nine = compare_signs(np.ones(9, dtype=bool), np.zeros(9, dtype=bool))
    >>> lead, size = choose_lead(nine, wanted=0.01, left=0.05)
    >>> lead, round(size, 6)
    (7, 0.019531)
    """
    sizes = test.tails[1:]
    # A lead that is not possible has the probability of the next one that is.
    leads = np.flatnonzero((sizes <= left) & (sizes > np.append(sizes[1:], 0.0)))
    if not len(leads):
        return len(test.tails), 0.0
    lead = int(leads[np.argmin(np.abs(np.log(sizes[leads] / wanted)))])
    return lead + 1, float(sizes[lead])


def compare_within_margin(first: Correct, second: Correct, margin: float, groups: Groups | None = None) -> float:
    """Return the one-sided p-value of whether the first of two models is worse by less than a margin.

    It is the score test for a difference of paired proportions (Tango 1998); where images come in groups, its variance
    is multiplied by the design effect of the groups.

    Args:
        first: (n,) bool, which images the first classifies correctly.
        second: (n,) bool, which of the same images the second classifies correctly.
        margin: the largest difference in accuracy that does not matter, 0..1, exclusive.
        groups: (n,) int64, the group of each image; None if every image is its own.

    >>> equal = np.arange(1000) >= 50
    >>> compare_within_margin(equal, equal, margin=0.01) < 0.01
    True
    """
    differences = first.astype(np.float64) - second.astype(np.float64)
    images, wins, losses = len(first), int((differences > 0).sum()), int((differences < 0).sum())
    # The probability that only the second is correct, if the first is worse by just the margin.
    linear = -wins - losses - (2 * images - wins + losses) * margin
    constant = losses * margin * (1.0 + margin)
    only_second = (math.sqrt(linear**2 - 8 * images * constant) - linear) / (4 * images)
    variance = images * (2 * only_second - margin * (1.0 + margin)) * measure_clustering(differences, groups)
    return float(norm.sf((wins - losses + images * margin) / math.sqrt(max(variance, 1e-300))))
