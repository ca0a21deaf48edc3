"""The metrics of class probabilities on the test set, the same for every panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from triptych.evaluation.calibration import apply_temperature, bin_confidences, find_calibration_floor, iterate_rows
from triptych.networks.numpy_functions import log_losses

Probabilities = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]
# Sparse, because of a thousand classes few pairs are ever confused.
Confusions = Any
# With more classes, a confusion matrix is listed by its cells that are not 0.
LISTED_CLASSES = 100


@dataclass(frozen=True)
class Scores:
    """What the metrics need of the probabilities of each image, which sum to one in float64.

    Attributes:
        correct: (n,) bool, whether the most probable class is the true one.
        confidence: (n,) float64, the probability of the most probable class.
        truth: (n,) float64, the probability of the true class.
        distance: (n,) float64, the squared distance to the one-hot label.
    """

    correct: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    truth: NDArray[np.float64]
    distance: NDArray[np.float64]


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
    predicted = probabilities.argmax(axis=1)
    scores = score_images(labels, probabilities)
    return {
        "test_accuracy": float(accuracy_score(labels, predicted)),
        "test_macro_f1": float(
            f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0.0)
        ),
        "test_log_loss": log_loss(scores.truth),
        "test_brier": float(scores.distance.mean()),
        "test_ece": expected_calibration_error(scores.confidence, scores.correct, calibration_bins),
        "test_ece_floor": find_calibration_floor(scores.confidence, calibration_bins),
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
    scores = score_images(labels, probabilities, temperature)
    return {
        "temperature": temperature,
        "test_log_loss_calibrated": log_loss(scores.truth),
        "test_ece_calibrated": expected_calibration_error(scores.confidence, scores.correct, calibration_bins),
        "test_ece_floor_calibrated": find_calibration_floor(scores.confidence, calibration_bins),
    }


def score_images(labels: Labels, probabilities: Probabilities, temperature: float | None = None) -> Scores:
    """Return what the metrics need of each image, a part of the rows at a time.

    Args:
        labels: (n,) int64, the true classes.
        probabilities: (n, classes), rows summing to one but for rounding.
        temperature: to scale with; None leaves the probabilities as they are.
    """
    images = len(labels)
    scores = Scores(np.empty(images, dtype=np.bool_), *(np.empty(images) for _ in range(3)))
    for rows in iterate_rows(probabilities):
        given, true = probabilities[rows], labels[rows]
        exact = given.astype(np.float64) if temperature is None else apply_temperature(given, temperature)
        exact /= exact.sum(axis=1, keepdims=True)
        at_truth = np.arange(len(true)), true
        scores.correct[rows] = exact.argmax(axis=1) == true
        scores.confidence[rows] = exact.max(axis=1)
        scores.truth[rows] = exact[at_truth]
        exact[at_truth] -= 1.0
        scores.distance[rows] = np.square(exact, out=exact).sum(axis=1)
    return scores


def log_loss(truth: NDArray[np.float64]) -> float:
    """Return the mean negative logarithm of the true class's probability, as `sklearn.metrics.log_loss` clips it.

    Args:
        truth: (n,) float64, the probability of each image's true class.

    >>> round(log_loss(np.array([1.0, 0.5])), 4)
    0.3466
    """
    return float(log_losses(truth).mean())


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


def expected_calibration_error(confidence: NDArray[np.floating[Any]], correct: NDArray[np.bool_], bins: int) -> float:
    """Return the mean gap between confidence and accuracy over equal-width bins of confidence.

    Source: Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015.

    Args:
        confidence: (n,), the probability of each image's predicted class.
        correct: (n,) bool, which images are classified correctly.
        bins: number of bins over 0..1; each includes its upper edge.

    >>> expected_calibration_error(np.array([0.75, 0.75]), np.array([True, False]), bins=10)
    0.25
    """
    binned = bin_confidences(confidence, correct, bins)
    return sum(part.images * abs(part.confidence - part.accuracy) for part in binned) / len(confidence)


def count_confusions(labels: Labels, predicted: Labels, classes: int) -> Confusions:
    """Return the confusion matrix, sparse (classes, classes) int64: rows are true classes, columns predicted ones.

    >>> count_confusions(np.array([0, 1]), np.array([0, 0]), classes=2).toarray().tolist()
    [[1, 0], [1, 0]]
    """
    return csr_array((np.ones(len(labels), dtype=np.int64), (labels, predicted)), shape=(classes, classes))


def list_confusions(counts: Confusions) -> dict[str, list[Any]]:
    """Return a confusion matrix as JSON values: all its counts, or, of many classes, those that are not 0.

    >>> list_confusions(count_confusions(np.array([0, 1]), np.array([0, 0]), classes=2))
    {'counts': [[1, 0], [1, 0]]}
    """
    if counts.shape[0] <= LISTED_CLASSES:
        return {"counts": counts.toarray().tolist()}
    cells = coo_array(counts)
    return {"true": cells.row.tolist(), "predicted": cells.col.tolist(), "images": cells.data.tolist()}
