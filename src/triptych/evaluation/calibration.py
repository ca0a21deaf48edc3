"""Whether a probability of 0.9 is right nine times in ten, and one number that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

Probabilities = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

# Temperatures that are looked through; beyond them a network is either certain of everything or of nothing.
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.02, 50.0
SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class ReliabilityBin:
    """Images whose confidence falls into one bin.

    Attributes:
        images: how many.
        confidence: their mean confidence.
        accuracy: the share that is right.
    """

    images: int
    confidence: float
    accuracy: float


def fit_temperature(labels: Labels, probabilities: Probabilities) -> float:
    """Return the temperature by which logits are divided so that the log loss is smallest.

    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", 2017. It changes no
    predicted class. Fit it on the validation part, never on test.

    Args:
        labels: (n,) int64.
        probabilities: (n, classes), rows summing to one; their logarithms stand for the logits.
    """
    logits = _take_logarithm(probabilities)
    rows = np.arange(len(labels))

    def measure_loss(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean())

    bounds = (float(np.log(LOWEST_TEMPERATURE)), float(np.log(HIGHEST_TEMPERATURE)))
    return float(np.exp(minimize_scalar(measure_loss, bounds=bounds, method="bounded").x))


def apply_temperature(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Return probabilities whose logits are divided by a temperature, (n, classes)."""
    scaled: Probabilities = softmax(_take_logarithm(probabilities) / temperature, axis=1)
    return scaled


def _take_logarithm(probabilities: Probabilities) -> Probabilities:
    logits: Probabilities = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY))
    return logits


def bin_confidences(labels: Labels, probabilities: Probabilities, bins: int) -> list[ReliabilityBin]:
    """Return confidence and accuracy over equal-width bins of confidence, without the empty ones.

    Args:
        labels: (n,) int64.
        probabilities: (n, classes).
        bins: number of bins over 0..1; a confidence on a bin's upper edge belongs to it.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        ReliabilityBin(int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean()))
        for inside in (bin_of == number for number in range(bins))
        if inside.any()
    ]
