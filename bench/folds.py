"""Cross-validation of equal learners: how often the corrected test calls them different, and what its interval covers.

Two learners, linear discriminant analysis in closed form, each see features of their own with the same distribution.
So they are equally accurate on average, whatever the size of the training set, but differ in each data set, in each
training and on each image; half of the noise is common to both, so that errors overlap. The expected accuracy of a
trained learner is known exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from measure import Figure
from numpy.typing import NDArray
from scipy.special import ndtr

from triptych.data.folds.drawing import draw_folds
from triptych.evaluation.folds.corrected import compare_folds, find_overlap_effect
from triptych.evaluation.statistics import Correct, Groups, measure_clustering, wilson_interval

SECTION, LEVEL = "trust", 0.05
# Of the noise, how much both learners see; half the distance of the class means; what keeps a scatter invertible.
COMMON_NOISE, SHIFT, RIDGE = 0.5, 0.75, 1e-2
# Images of a burst, and how much of their noise they have in common.
FRAMES, BURST_NOISE = 5, 0.7
# Images and features: few images for few features, and for many, where trainings differ more.
SIZES = ((60, 2), (200, 20))
FOLDS = ((5, 1), (10, 1), (5, 5))  # folds and repeats

Features = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """A cross-validation of two learners.

    Attributes:
        images: of the data set.
        features: that each learner sees.
        folds: number of folds.
        repeats: number of repetitions.
        bursts: whether images come in groups of five.
        advantage: by which factor the classes are further apart for the first learner.
    """

    images: int
    features: int
    folds: int
    repeats: int
    bursts: bool = False
    advantage: float = 1.0


@dataclass(frozen=True)
class Found:
    """What one cross-validation finds.

    Attributes:
        separated: whether the learners are called different.
        low: lower bound of the interval of the first learner's accuracy.
        high: upper bound.
        expected: the mean accuracy of its trainings on all images that could be drawn.
    """

    separated: bool
    low: float
    high: float
    expected: float


def cross_validate_often(setting: Setting, draws: int, seed: int) -> Iterator[Found]:
    """Yield cross-validations, each of other images; each setting draws its own."""
    rng = np.random.default_rng([seed, *repr(setting).encode()])
    position = np.arange(setting.images) // (FRAMES if setting.bursts else 1)
    labels, groups = position % 2, position if setting.bursts else None
    for number in range(draws):
        folds = np.stack(
            [draw_folds(labels, groups, setting.folds, seed=number, repeat=repeat) for repeat in range(setting.repeats)]
        )
        common, signs = _draw_noise(rng, setting), 2.0 * labels[:, None] - 1.0
        first, second = (
            signs * _find_shift(setting, factor)
            + np.sqrt(COMMON_NOISE) * common
            + np.sqrt(1.0 - COMMON_NOISE) * _draw_noise(rng, setting)
            for factor in (setting.advantage, 1.0)
        )
        one, expected = cross_validate(first, labels, folds, _find_shift(setting, setting.advantage))
        other, _ = cross_validate(second, labels, folds, _find_shift(setting))
        separated = compare_folds(one, other, folds, 1.0 - LEVEL, groups).p_value < LEVEL
        yield Found(separated, *_bound_accuracy(one, folds, groups), expected)


def _bound_accuracy(correct: Correct, folds: Labels, groups: Groups | None) -> tuple[float, float]:
    images = correct.shape[1]
    overlap = find_overlap_effect(correct, folds, grouped=groups is not None)
    effect = max(overlap, measure_clustering(correct.mean(axis=0), groups))
    return wilson_interval(round(float(correct.mean()) * images), images, 1.0 - LEVEL, effect)


def _find_shift(setting: Setting, factor: float = 1.0) -> Features:
    """Return half the distance of the class means, (features,), the same in all of them."""
    return np.full(setting.features, factor * SHIFT / np.sqrt(setting.features))


def _draw_noise(rng: np.random.Generator, setting: Setting) -> Features:
    """Return noise of unit variance, (n, features)."""
    noise: Features = rng.standard_normal((setting.images, setting.features))
    if not setting.bursts:
        return noise
    burst = np.repeat(rng.standard_normal((setting.images // FRAMES, setting.features)), FRAMES, axis=0)
    return np.asarray(np.sqrt(BURST_NOISE) * burst + np.sqrt(1.0 - BURST_NOISE) * noise)


def cross_validate(features: Features, labels: Labels, folds: Labels, shift: Features) -> tuple[Correct, float]:
    """Return which images are classified correctly, (repeats, n) bool, and the expected accuracy of the trainings.

    Args:
        features: (n, features).
        labels: (n,) int64, 0 or 1.
        folds: (repeats, n) int64.
        shift: (features,), half the distance of the class means.
    """
    correct, expected = np.empty(folds.shape, dtype=bool), []
    for repeat, tested_in in enumerate(folds):
        for fold in range(tested_in.max() + 1):
            test = tested_in == fold
            weight, bias = _fit(features[~test], labels[~test])
            correct[repeat, test] = (features[test] @ weight + bias > 0.0) == (labels[test] == 1)
            margins = (weight @ shift + np.array([1.0, -1.0]) * bias) / np.sqrt(weight @ weight)
            expected.append(ndtr(margins).mean())
    return correct, float(np.mean(expected))


def _fit(features: Features, labels: Labels) -> tuple[Features, float]:
    """Return the weights and the bias of linear discriminant analysis."""
    means = np.stack([features[labels == label].mean(axis=0) for label in (0, 1)])
    centred = features - means[labels]
    scatter = centred.T @ centred / len(features) + RIDGE * np.eye(features.shape[1])
    weight = np.linalg.solve(scatter, means[1] - means[0])
    return weight, -float(weight @ means.sum(axis=0)) / 2.0


def simulate_folds(draws: int, seed: int = 5, *, bursts: bool) -> list[Figure]:
    """Simulate cross-validations of equal learners: false wins, and the coverage of the accuracy's interval."""
    wins, covered = [], []
    for setting in (Setting(*size, *folds, bursts) for size in SIZES for folds in FOLDS):
        found = list(cross_validate_often(setting, draws, seed))
        truth = float(np.mean([one.expected for one in found]))
        wins.append(float(np.mean([one.separated for one in found])))
        covered.append(float(np.mean([one.low <= truth <= one.high for one in found])))
    images = "60 and 200 images in bursts of 5" if bursts else "60 and 200 images"
    name = f"{images}, 5 x 1, 10 x 1 and 5 x 5 folds"
    most, least = f"false wins of equal learners out of fold, the most: {name}", min(covered)
    covers = f"coverage of the 95 % interval of an out-of-fold accuracy, the least: {name}"
    return [
        Figure(SECTION, most, max(wins), min(wins), max(wins), LEVEL, at_most=True, seed=seed),
        Figure(SECTION, covers, least, least, max(covered), 0.93, seed=seed),
    ]


def simulate_better_learner(draws: int, seed: int = 6) -> list[Figure]:
    """Simulate a learner whose classes are further apart."""
    setting = Setting(200, 20, 5, 5, advantage=1.4)
    found = float(np.mean([one.separated for one in cross_validate_often(setting, draws, seed)]))
    name = "82 against 74 % found out of fold: 200 images, 5 x 5 folds"
    return [Figure(SECTION, name, found, found, found, 0.5, seed=seed)]
