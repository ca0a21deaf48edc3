"""What more training images would bring: the forecast of a panel's learning curve, with intervals, in one sentence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.evaluation.amount.power_law import Floats, fit_power_laws

# How often the curve is drawn again for the intervals, and how many of these at once, for little memory.
REPLICATES, AT_ONCE = 1000, 100
# The forecast is for so many times all training images: a power law holds for a while, but not for ever.
FACTORS = (2, 4)
# Twice the images hardly help if they bring less than this, whatever the curve in the interval.
HARDLY = 0.005

Correct = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        images: the number of training images that it is about.
        value: the estimate, an accuracy or a difference of accuracies.
        low: the lower bound of its interval.
        high: the upper bound.
    """

    images: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Amount:
    """The learning curve of a panel, and its forecast.

    Attributes:
        panel: the panel's name.
        label: its name as reports print it.
        measured: its accuracies, the smallest number of images first, the last with all of them.
        forecast: its accuracies with more images, as the power law has them.
        gains: how much higher each forecast is than the accuracy with all images.
        limit: the accuracy that no amount of such images exceeds, as far as the power law holds.
        exponent: how fast it is approached; 0.5 halves the distance with four times the images.
        confidence_level: of all intervals.
    """

    panel: str
    label: str
    measured: tuple[Estimate, ...]
    forecast: tuple[Estimate, ...]
    gains: tuple[Estimate, ...]
    limit: Estimate
    exponent: Estimate
    confidence_level: float

    @property
    def images(self) -> int:
        """The number of all training images."""
        return self.measured[-1].images

    @property
    def sentence(self) -> str:
        """How many more images bring how many more points."""
        gain, level = self.gains[0], f"{100 * self.confidence_level:g} % interval"
        more = f"{gain.images - self.images:,} more training images (twice as many)"
        interval = f"{level} {100 * gain.low:.1f} to {100 * gain.high:.1f}"
        if gain.high < HARDLY:
            return f"{self.label}: more images of this kind will hardly help: {more} bring less than half a point"
        expected = f"{more} would raise the accuracy by {100 * gain.value:.1f} points ({interval})"
        doubt = "; the gain could be next to nothing" if gain.low < HARDLY / 5 else ""
        return f"{self.label}: {expected}{doubt}"

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {**asdict(self), "sentence": self.sentence}


def draw_errors(
    images: NDArray[np.int64], wrong: Correct, groups: NDArray[np.int64] | None, rng: np.random.Generator
) -> Floats:
    """Return replicates of the mean error at each size, (REPLICATES, sizes) float64: other test images, other draws.

    Test images get exponential weights (Rubin, "The Bayesian bootstrap", 1981), the same for all trainings, because all
    classify the same images; groups get one weight each. Draws are drawn with replacement. Their deviations are
    enlarged, because the few draws are their own mean, and because subsets that are large parts of the same images
    differ less than subsets of new images would.

    Args:
        images: (sizes,) int64, ascending.
        wrong: (sizes, draws, test images) bool.
        groups: (test images,) int64, or None.
        rng: draws the replicates.
    """
    sizes, draws, tested = wrong.shape
    _, codes = np.unique(np.arange(tested) if groups is None else groups, return_inverse=True)
    share = np.minimum(images / images[-1], 0.5)
    enlarged = np.sqrt(draws / (draws - 1) / (1.0 - share))[:, None]
    flat, replicates = wrong.reshape(sizes * draws, tested).astype(np.float32).T, []
    for _ in range(REPLICATES // AT_ONCE):
        weights = rng.standard_exponential((AT_ONCE, codes.max() + 1), dtype=np.float32)[:, codes]
        weights /= weights.sum(axis=1, keepdims=True)
        errors = (weights @ flat).reshape(AT_ONCE, sizes, draws).astype(np.float64)
        means = errors.mean(axis=2, keepdims=True)
        chosen = rng.integers(draws, size=(AT_ONCE, 1, draws))
        redrawn = np.take_along_axis(means + (errors - means) * enlarged, chosen, axis=2)
        replicates.append(redrawn.mean(axis=2).clip(0.0, 1.0))
    return np.concatenate(replicates)


def weigh_sizes(images: NDArray[np.int64], errors: Floats, tested: int) -> Floats:
    """Return the weight of each size in the fit, (sizes,) float64: relative errors count, and large sizes count more.

    The first images of a network that learns nothing from so few follow no power law, the last ones do.

    >>> weigh_sizes(np.array([100, 200]), np.array([0.4, 0.2]), 10**9).round()
    array([ 625., 5000.])
    """
    weights: Floats = images / (errors + 1.0 / tested) ** 2
    return weights


def forecast_accuracy(
    panel: str,
    label: str,
    images: NDArray[np.int64],
    correct: Correct,
    *,
    confidence_level: float,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Amount:
    """Return the learning curve of a panel with its forecast.

    Args:
        panel: the panel's name.
        label: its name as reports print it.
        images: (sizes,) int64, the numbers of training images, ascending.
        correct: (sizes, draws, test images) bool, what the trainings classify correctly, with two draws or more.
        confidence_level: of the intervals.
        groups: (test images,) int64, the group of each test image; None if every image stands alone.
        seed: of the replicates.
    """
    wrong = ~correct
    errors = np.stack([wrong.mean(axis=(1, 2)), *draw_errors(images, wrong, groups, np.random.default_rng(seed))])
    laws = fit_power_laws(images, errors, weigh_sizes(images, errors[0], wrong.shape[2]))
    total = int(images[-1])

    def estimate(number: float, values: Floats, *, bounds: tuple[float, float] = (0.0, 1.0)) -> Estimate:
        tail = (1.0 - confidence_level) / 2
        low, high = np.clip(np.quantile(values[1:], [tail, 1.0 - tail]), *bounds)
        return Estimate(int(number), float(values[0]), float(min(low, values[0])), float(max(high, values[0])))

    more = [factor * total for factor in FACTORS]
    return Amount(
        panel,
        label,
        measured=tuple(estimate(number, 1.0 - errors[:, row]) for row, number in enumerate(images)),
        forecast=tuple(estimate(number, 1.0 - laws.predict(number)) for number in more),
        gains=tuple(estimate(number, laws.predict(total) - laws.predict(number)) for number in more),
        limit=estimate(total, 1.0 - laws.limits),
        exponent=estimate(total, laws.exponents, bounds=(0.0, 10.0)),
        confidence_level=confidence_level,
    )
