"""What is measured of a panel's class probabilities on the test part, the same for every model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss

Probabilities = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


def measure_probabilities(labels: Labels, probabilities: Probabilities, calibration_bins: int) -> dict[str, float]:
    """Return accuracy, macro F1, log loss and expected calibration error under MLflow's metric names.

    Args:
        labels: (n,) int64, the true classes.
        probabilities: (n, classes), rows summing to one.
        calibration_bins: equal-width bins of the calibration error.
    """
    everything = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return {
        "test_accuracy": float(accuracy_score(labels, predicted)),
        "test_macro_f1": float(f1_score(labels, predicted, labels=everything, average="macro", zero_division=0.0)),
        "test_log_loss": float(log_loss(labels, exact, labels=everything)),
        "test_ece": expected_calibration_error(labels, exact, calibration_bins),
    }


def expected_calibration_error(labels: Labels, probabilities: Probabilities, bins: int) -> float:
    """Return the mean distance of confidence and accuracy over equal-width bins of confidence.

    Source: Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015.

    Args:
        labels: (n,) int64.
        probabilities: (n, classes).
        bins: number of bins over 0..1; a confidence on a bin's upper edge belongs to it.

    >>> expected_calibration_error(np.array([0, 1]), np.array([[0.75, 0.25], [0.75, 0.25]]), bins=10)
    0.25
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    surplus = np.bincount(bin_of, weights=confidence - right, minlength=bins)
    return float(np.abs(surplus).sum() / len(labels))


def count_confusions(labels: Labels, probabilities: Probabilities) -> NDArray[np.int64]:
    """Return the confusion matrix, (classes, classes): rows are true classes, columns predicted ones."""
    everything = np.arange(probabilities.shape[1])
    counts: NDArray[np.int64] = confusion_matrix(labels, probabilities.argmax(axis=1), labels=everything)
    return counts
