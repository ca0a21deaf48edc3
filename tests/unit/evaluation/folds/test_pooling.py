from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.errors import EvaluationError
from triptych.evaluation.folds.pooling import average_curves, find_temperature, measure_fold, pool_folds
from triptych.panels.fitting import FittedFold, fit_folds
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import PanelJob

PANEL = "nearest-neighbours"


@pytest.fixture(scope="module")
def data() -> BoardData:
    return load_board(prepare_board(resolve_config("digits", panels=[PANEL], settings=["split.folds=3"]).boards[0]))


@pytest.fixture(scope="module")
def folds(data: BoardData) -> list[FittedFold]:
    return list(fit_folds(data, PanelJob(data.prepared, PANEL, 1), lambda metrics: None))


def test_every_image_has_the_prediction_of_the_training_that_did_not_see_it(
    data: BoardData, folds: list[FittedFold]
) -> None:
    evaluation = pool_folds(folds)
    rows = np.asarray(data.pixels[:]).reshape(len(data.labels), -1)
    divided = [(fold.data.split.train, fold.data.split.test) for fold in folds]
    expected = cross_val_predict(KNeighborsClassifier(5), rows, data.labels, cv=divided, method="predict_proba")
    predictions = evaluation.predictions
    np.testing.assert_allclose(predictions.probabilities, expected, atol=1e-6)
    assert evaluation.metrics["test_accuracy"] == (expected.argmax(axis=1) == data.labels).mean()
    assert predictions.folds is not None
    assert all((predictions.folds[test] == number).all() for number, (_, test) in enumerate(divided))
    assert predictions.ids.tolist() == data.image_ids.tolist()
    accuracies = list(map(measure_fold, folds))
    assert evaluation.metrics["fold_deviation"] == pytest.approx(np.std(accuracies, ddof=1))


def test_an_image_that_no_fold_tests_is_found(folds: list[FittedFold]) -> None:
    with pytest.raises(EvaluationError, match="predictions for 1797 test images"):
        pool_folds(folds[:2])


def test_without_validation_parts_nothing_is_scaled(folds: list[FittedFold]) -> None:
    bare = [replace(fold, validated=None) for fold in folds]
    assert find_temperature(bare[0]) == 0.0
    assert "temperature" not in pool_folds(bare).metrics
    assert pool_folds(folds).metrics["temperature"] == pytest.approx(np.mean(list(map(find_temperature, folds))))


def test_curves_are_means_over_the_folds_that_lasted_so_long(folds: list[FittedFold]) -> None:
    losses = ([0.5, 0.3], [0.7])
    lasting = [
        replace(fold, curve=[EpochMetrics(epoch, 2, loss, 1.0, 0.1) for epoch, loss in enumerate(curve, start=1)])
        for fold, curve in zip(folds, losses, strict=False)
    ]
    assert average_curves(lasting)["train_loss"] == [pytest.approx(0.6), 0.3]
