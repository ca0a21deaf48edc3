"""The corrected resampled t-test: whether two panels differ, given their accuracies on the folds of a cross-validation.

Folds are not independent: each is the test set of a training on most of the others. The variance over the folds says
too little about other data, and the plain t-test finds equal panels different far too often. Nadeau and Bengio
("Inference for the generalization error", Machine Learning 52, 2003) estimate the correlation of two trainings by the
share of the images that are tested: they multiply the variance over J folds not by 1 / J, but by
1 / J + n_test / n_train. For r repetitions of k folds J is r k, with J - 1 degrees of freedom, and n_test / n_train is
1 / (k - 1) (Bouckaert and Frank, "Evaluating the replicability of significance tests for comparing learning
algorithms", 2004).

With images in groups that is not enough: 5 x 5 folds of bursts find equal learners different in 8 % of data sets.
Repetitions test the same few groups again, so there the factor is that of one repetition, and it is 3 %.

A few folds of few images may differ by the same number of images just by chance, and their variance is then 0. So a
difference has to be significant over the images, too. `make simulate` measures what this promises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from triptych.evaluation.statistics import (
    Correct,
    Groups,
    PairedDifference,
    Spread,
    bound_difference,
    compare_pair,
)

Folds = NDArray[np.int64]


@dataclass(frozen=True)
class FoldSpread(Spread):
    """How much a difference in accuracy varies over data sets and trainings, as the folds of a cross-validation show.

    Attributes:
        fold_variance: of the mean over all folds, corrected for the overlap of their training sets.
        fold_degrees: its degrees of freedom.
    """

    fold_variance: float = 0.0
    fold_degrees: float = 1.0

    @property
    def variance(self) -> float:
        """The variance of the difference."""
        return max(super().variance, self.fold_variance)

    def margin(self, level: float) -> float:
        """Return half the width of the interval with this error probability."""
        quantile = -float(stdtrit(self.fold_degrees, level / 2.0))
        return max(super().margin(level), quantile * sqrt(self.fold_variance))

    def p_value(self, difference: float) -> float:
        """Return the smallest level whose interval around the difference excludes 0; two-sided."""
        over_images = super().p_value(difference)
        if not self.fold_variance:
            return over_images
        statistic = -abs(difference) / sqrt(self.fold_variance)
        return max(over_images, 2.0 * float(stdtr(self.fold_degrees, statistic)))


def compare_folds(
    first: Correct, second: Correct, folds: Folds, confidence_level: float, groups: Groups | None = None
) -> PairedDifference:
    """Compare two panels on images that are tested out of fold, on the same folds.

    Args:
        first: (repeats, n) bool, which images each repetition of the first panel classifies correctly.
        second: (repeats, n) bool, the same for the second panel.
        folds: (repeats, n) int64, the fold of each repetition that tests each image.
        confidence_level: of the interval, two-sided.
        groups: (n,) int64, the group of each image, which no fold parts; None if every image stands alone.

    Raises:
        ValueError: the shapes differ.

    >>> right, wrong = np.array([[True, False] * 6]), np.array([[True, False, False] * 4])
    >>> round(compare_folds(right, wrong, np.array([[0, 1, 2] * 4]), 0.95).difference, 4)
    0.1667
    """
    paired = compare_pair(first, second, confidence_level, groups)
    variance, trainings = measure_overlapping(first.astype(np.float64) - second, folds, grouped=groups is not None)
    # What the trainings add, the folds show.
    spread = FoldSpread(
        paired.spread.image_variance, paired.spread.groups, fold_variance=variance, fold_degrees=trainings - 1
    )
    low, high = bound_difference(paired.difference, spread.margin(1.0 - confidence_level))
    p_value = spread.p_value(paired.difference)
    return replace(paired, low=low, high=high, p_value=p_value, repeats=trainings, first_ahead=None, spread=spread)


def measure_overlapping(values: NDArray[np.float64], folds: Folds, *, grouped: bool = False) -> tuple[float, int]:
    """Return the variance of the mean of some values, corrected for the overlap of folds, and the number of all folds.

    Folds of unequal size count by their images.

    Args:
        values: (repeats, n) float64, one for each repetition and image.
        folds: (repeats, n) int64, the fold of each repetition that tests each image.
        grouped: whether images come in groups, so that repetitions say nothing new.

    >>> variance, trainings = measure_overlapping(np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[0, 0, 1, 1]]))
    >>> variance, trainings  # the variance of 0 and 1, times 1 / 2 + 1 / 1
    (0.75, 2)
    """
    repeats, images = values.shape
    count = int(folds.max()) + 1
    cells = (folds + count * np.arange(repeats)[:, None]).ravel()  # a number for each fold of each repetition
    sizes = np.bincount(cells, minlength=repeats * count)
    means = np.bincount(cells, weights=values.ravel(), minlength=repeats * count) / sizes
    trainings = len(means)
    squares = float(sizes @ (means - values.mean()) ** 2) / values.size * trainings / (trainings - 1)
    tested = images / count
    return squares * (1.0 / (count if grouped else trainings) + tested / (images - tested)), trainings


def find_overlap_effect(correct: Correct, folds: Folds, *, grouped: bool = False) -> float:
    """Return by how much folds multiply the variance of an accuracy, at least 1.

    With this design effect, Wilson's interval is as wide as the folds say.

    Args:
        correct: (repeats, n) bool, which images each repetition classifies correctly.
        folds: (repeats, n) int64, the fold of each repetition that tests each image.
        grouped: whether images come in groups, so that repetitions say nothing new.
    """
    accuracy = float(correct.mean())
    alone = accuracy * (1.0 - accuracy) / correct.shape[1]
    variance, _ = measure_overlapping(correct.astype(np.float64), folds, grouped=grouped)
    return max(1.0, variance / alone) if alone else 1.0
