"""Calibration: whether predictions made with probability 0.9 are correct nine times in ten, and temperature scaling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from triptych.system.slices import iterate_slices

Probabilities = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]
Confidence = NDArray[np.floating[Any]]
Correct = NDArray[np.bool_]

# Bounds of the search for a temperature; beyond them all probabilities are near 0 and 1, or all are equal.
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.02, 50.0
SMALLEST_PROBABILITY = 1e-12
# Sets of labels drawn to find the calibration error of a perfectly calibrated model; their standard error is a
# hundredth of it. The seed is fixed, so that the same predictions give the same figure.
FLOOR_DRAWS, FLOOR_SEED = 100, 0
# Probabilities that are worked on at a time: their intermediate results fit the processor's cache.
VALUES_AT_A_TIME = 2**18


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose confidence falls into one bin.

    Attributes:
        images: number of images.
        confidence: their mean confidence, 0..1.
        accuracy: the fraction classified correctly, 0..1.
    """

    images: int
    confidence: float
    accuracy: float


def fit_temperature(labels: Labels, probabilities: Probabilities) -> float:
    """Return the temperature that minimises the log loss when logits are divided by it.

    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", 2017. It changes no
    predicted class. Fit it on the validation set, never on the test set.

    Args:
        labels: (n,) int64, the true classes.
        probabilities: (n, classes), rows summing to one; their logarithms serve as logits.
    """
    logits = _take_logarithm(probabilities)
    largest = logits.max(axis=1, keepdims=True)

    def measure_loss(log_temperature: float) -> float:
        """Return the mean of the negative `scipy.special.log_softmax` at the true classes."""
        temperature = np.exp(log_temperature)
        found = np.empty(len(labels))
        for rows in iterate_rows(logits):
            scaled = logits[rows] / temperature
            scaled -= largest[rows] / temperature
            found[rows] = scaled[np.arange(len(scaled)), labels[rows]]
            found[rows] -= np.log(np.exp(scaled, out=scaled).sum(axis=1))
        return -float(found.mean())

    bounds = (float(np.log(LOWEST_TEMPERATURE)), float(np.log(HIGHEST_TEMPERATURE)))
    return float(np.exp(minimize_scalar(measure_loss, bounds=bounds, method="bounded").x))


def iterate_rows(probabilities: Probabilities) -> Iterator[slice]:
    """Yield slices of rows, (n, classes), so small that their intermediate results need no memory worth mentioning."""
    return iterate_slices(len(probabilities), max(1, VALUES_AT_A_TIME // probabilities.shape[1]))


def apply_temperature(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Return the probabilities after dividing the logits by a temperature, (n, classes).

    >>> apply_temperature(np.array([[0.8, 0.2]]), temperature=2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    scaled: Probabilities = softmax(_take_logarithm(probabilities) / temperature, axis=1)
    return scaled


def _take_logarithm(probabilities: Probabilities) -> Probabilities:
    logits: Probabilities = probabilities.astype(np.float64)
    np.maximum(logits, SMALLEST_PROBABILITY, out=logits)
    return np.log(logits, out=logits)


def bin_confidences(confidence: Confidence, correct: Correct, bins: int) -> list[ReliabilityBin]:
    """Return confidence and accuracy for each equal-width bin of confidence that is not empty.

    Args:
        confidence: (n,), the probability of each image's predicted class.
        correct: (n,) bool, which images are classified correctly.
        bins: number of bins over 0..1; each includes its upper edge.

    >>> bin_confidences(np.array([0.75, 0.75]), np.array([True, False]), bins=10)
    [ReliabilityBin(images=2, confidence=0.75, accuracy=0.5)]
    """
    bin_of = _assign_bins(confidence, bins)
    return [
        ReliabilityBin(int(inside.sum()), float(confidence[inside].mean()), float(correct[inside].mean()))
        for inside in (bin_of == number for number in range(bins))
        if inside.any()
    ]


def _assign_bins(confidence: Confidence, bins: int) -> NDArray[np.int64]:
    bin_of: NDArray[np.int64] = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return bin_of


def find_calibration_floor(confidence: Confidence, bins: int) -> float:
    """Return the expected calibration error of a perfectly calibrated model that makes these predictions.

    On a finite test set it is not 0: in each bin, by chance some more or fewer images are classified correctly than the
    confidence says. Labels are drawn from the probabilities ("consistency resampling", Bröcker and Smith, "Increasing
    the reliability of reliability diagrams", 2007); all that counts is whether the predicted class is right.

    Args:
        confidence: (n,), the probability of each image's predicted class.
        bins: number of equal-width bins of confidence.

    >>> find_calibration_floor(np.array([1.0]), bins=10)
    0.0
    """
    bin_of = _assign_bins(confidence, bins)
    rng = np.random.default_rng(FLOOR_SEED)
    gaps = [
        np.abs(np.bincount(bin_of, weights=(rng.random(len(confidence)) < confidence) - confidence)).sum()
        for _ in range(FLOOR_DRAWS)
    ]
    return float(np.mean(gaps)) / len(confidence)
