"""The metrics of class probabilities on the test set, the same for every panel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, precision_recall_fscore_support

from triptych.evaluation.calibration import apply_temperature, bin_confidences, find_calibration_floor

Probabilities = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


def measure_probabilities(labels: Labels, probabilities: Probabilities, calibration_bins: int) -> dict[str, float]:
    """Return accuracy, macro F1, log loss, Brier score and calibration error under MLflow's metric names.

    Macro F1 is the mean over the classes that occur among the labels: it is undefined for any other. The floor of the
    calibration error is what a perfectly calibrated model would show with these confidences.

    Args:
        labels: (n,) int64, the true classes.
        probabilities: (n, classes), rows summing to one.
        calibration_bins: number of equal-width bins of the calibration error.

    >>> metrics = measure_probabilities(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]), calibration_bins=15)
    >>> metrics["test_accuracy"]
    0.5
    """
    everything = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return {
        "test_accuracy": float(accuracy_score(labels, predicted)),
        "test_macro_f1": float(
            f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0.0)
        ),
        "test_log_loss": float(log_loss(labels, exact, labels=everything)),
        "test_brier": brier_score(labels, exact),
        "test_ece": expected_calibration_error(labels, exact, calibration_bins),
        "test_ece_floor": find_calibration_floor(exact, calibration_bins),
    }


def measure_calibrated(
    labels: Labels, probabilities: Probabilities, temperature: float, calibration_bins: int
) -> dict[str, float]:
    """Return log loss, calibration error and its floor after temperature scaling, and the temperature itself.

    Args:
        labels: (n,) int64, the true classes.
        probabilities: (n, classes), rows summing to one, before scaling.
        temperature: fitted on the validation set.
        calibration_bins: number of equal-width bins of the calibration error.
    """
    calibrated = measure_probabilities(labels, apply_temperature(probabilities, temperature), calibration_bins)
    names = ("test_log_loss", "test_ece", "test_ece_floor")
    return {"temperature": temperature, **{f"{name}_calibrated": calibrated[name] for name in names}}


def brier_score(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean squared distance between probabilities and one-hot labels: 0 is perfect, 2 the worst.

    Source: Brier, "Verification of forecasts expressed in terms of probability", 1950.

    Args:
        labels: (n,) int64, the true classes.
        probabilities: (n, classes), rows summing to one.

    >>> brier_score(np.array([0]), np.array([[0.5, 0.5]]))
    0.5
    """
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def measure_classes(labels: Labels, predicted: Labels, classes: int) -> list[dict[str, float]]:
    """Return precision, recall, F1 and number of images for each class; 0 where one is undefined.

    Args:
        labels: (n,) int64, the true classes.
        predicted: (n,) int64.
        classes: number of classes.

    >>> measure_classes(np.array([0, 0]), np.array([0, 1]), classes=2)[0]
    {'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, 'images': 2.0}
    """
    measured = precision_recall_fscore_support(labels, predicted, labels=np.arange(classes), zero_division=0.0)
    names = ("precision", "recall", "f1", "images")
    return [dict(zip(names, map(float, row), strict=True)) for row in zip(*measured, strict=True)]


def expected_calibration_error(labels: Labels, probabilities: Probabilities, bins: int) -> float:
    """Return the mean gap between confidence and accuracy over equal-width bins of confidence.

    Source: Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015.

    Args:
        labels: (n,) int64, the true classes.
        probabilities: (n, classes), rows summing to one.
        bins: number of bins over 0..1; each includes its upper edge.

    >>> expected_calibration_error(np.array([0, 1]), np.array([[0.75, 0.25], [0.75, 0.25]]), bins=10)
    0.25
    """
    binned = bin_confidences(labels, probabilities, bins)
    return sum(part.images * abs(part.confidence - part.accuracy) for part in binned) / len(labels)


def count_confusions(labels: Labels, probabilities: Probabilities) -> NDArray[np.int64]:
    """Return the confusion matrix, (classes, classes): rows are true classes, columns predicted ones.

    >>> count_confusions(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]])).tolist()
    [[1, 0], [1, 0]]
    """
    everything = np.arange(probabilities.shape[1])
    counts: NDArray[np.int64] = confusion_matrix(labels, probabilities.argmax(axis=1), labels=everything)
    return counts
