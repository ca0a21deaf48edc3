"""The results of a cross-validation: every image with the prediction of the training that did not see it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from statistics import fmean, stdev

import numpy as np

from triptych.evaluation.calibration import apply_temperature, fit_temperature
from triptych.evaluation.evaluator import Evaluation, check_coverage, check_numbers
from triptych.evaluation.metrics import measure_calibrated, measure_probabilities
from triptych.evaluation.predictions import Predictions
from triptych.panels.fitting import FittedFold


def pool_folds(folds: Sequence[FittedFold]) -> Evaluation:
    """Return the results of a panel on all images, from those of one repetition of its folds.

    Probabilities are scaled by the temperature that the validation part of their fold finds.

    Raises:
        EvaluationError: an image is tested in no fold or in several, or a probability is not a number.
    """
    data = folds[0].data
    order = np.argsort(np.concatenate([fold.data.split.test for fold in folds]))
    tested_in = np.repeat(np.arange(len(folds)), [len(fold.tested) for fold in folds])[order]
    tested = np.concatenate([fold.tested for fold in folds])[order]
    everything, labels = np.arange(len(data.labels)), data.labels
    check_coverage(everything, tested)
    check_numbers("test", tested)
    bins = data.prepared.config.evaluate.calibration_bins
    metrics = measure_probabilities(labels, tested, bins)
    temperatures = [find_temperature(fold) for fold in folds]
    if all(temperatures):
        scaled = [apply_temperature(fold.tested, one) for fold, one in zip(folds, temperatures, strict=True)]
        metrics |= measure_calibrated(labels, np.concatenate(scaled)[order], 1.0, bins)
        metrics |= {"temperature": fmean(temperatures)}
    metrics |= {
        "fit_seconds": sum(metrics.epoch_seconds for fold in folds for metrics in fold.curve),
        "parameters": float(folds[0].parameters),
        "fold_deviation": stdev(map(measure_fold, folds)),
    }
    predictions = Predictions(
        everything, labels, tested, np.asarray(data.image_ids), data.prepared.classes, folds=tested_in
    )
    return Evaluation(metrics, predictions, validated=None, reload_difference=None)


def find_temperature(fold: FittedFold) -> float:
    """Return the temperature of a fold, fitted on its validation part; 0 if that is empty."""
    if fold.validated is None:
        return 0.0
    check_numbers("validation", fold.validated)
    return fit_temperature(fold.data.labels[fold.data.split.validation], fold.validated)


def measure_fold(fold: FittedFold) -> float:
    """Return the accuracy on the test part of a fold."""
    truth = fold.data.labels[fold.data.split.test]
    return float((fold.tested.argmax(axis=1) == truth).mean())


def average_curves(folds: Sequence[FittedFold]) -> dict[str, list[float]]:
    """Return for each metric of an epoch its mean over the folds that were trained for so many epochs, by name."""
    epochs = [
        [metrics.values() for metrics in reached if metrics] for reached in zip_longest(*(fold.curve for fold in folds))
    ]
    return {name: [fmean(one[name] for one in reached) for reached in epochs] for name in epochs[0][0]}
