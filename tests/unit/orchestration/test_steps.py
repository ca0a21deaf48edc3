from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.studies import PANEL, name_board
from triptych.data.boards import BoardData, prepare_board
from triptych.errors import ConfigError, DataError, DivergenceError
from triptych.evaluation.folds.pooling import measure_fold
from triptych.evaluation.promotion import choose_best
from triptych.orchestration import steps
from triptych.panels.fitting import FittedFold
from triptych.panels.identity import identify_comparison
from triptych.tracking.artifacts import FOLD_ACCURACY, load_evaluation, load_logged_predictions
from triptych.tracking.client import connect
from triptych.tracking.leases import own_leases
from triptych.tracking.provenance import load_record
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.runs import find_trained, start_comparison


@pytest.fixture
def comparison(digits: BoardData, own_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComparisonRecord:
    """A comparison of one panel; its tasks are called without Prefect, and no other test left checkpoints for it."""
    del own_store
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(steps, "get_run_logger", lambda: logging.getLogger("test"))
    monkeypatch.setattr(steps, "reporting_epochs", lambda label, log: nullcontext(log))
    prepared = name_board(digits.prepared, "steps", epochs=2)
    record = start_comparison(prepared, {}, identify_comparison(prepared))
    own_leases.release(record.run_id)
    return record


def test_a_panel_is_trained_once(comparison: ComparisonRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    [job] = comparison.jobs
    trained = steps.train_in_run(comparison, job, None)
    assert (trained.job, trained.restored_epochs) == (job, 0)
    monkeypatch.setattr(steps, "fit_panel", None)
    again = steps.train_in_run(comparison, job, None)
    assert (again.run_id, again.model_uri) == (trained.run_id, trained.model_uri)


def test_a_training_that_diverges_names_its_panel_and_setting(
    comparison: ComparisonRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object) -> None:
        raise DivergenceError("the training loss is nan")

    monkeypatch.setattr(steps, "fit_panel", diverge)
    [job] = comparison.jobs
    with pytest.raises(DivergenceError, match=rf"^{PANEL}.*: the training loss is nan \(numpy_mlp.learning_rate\)$"):
        steps.train_in_run(comparison, job, None)


@pytest.fixture
def with_folds(comparison: ComparisonRecord, monkeypatch: pytest.MonkeyPatch) -> ComparisonRecord:
    """The same comparison with three folds; its progress is not shown."""
    monkeypatch.setattr(steps, "reporting", lambda label: nullcontext(lambda *progress: None))
    split = comparison.prepared.config.split.model_copy(update={"folds": 3})
    config = comparison.prepared.config.model_copy(update={"split": split})
    record = start_comparison(prepare_board(config), {}, "with folds")
    own_leases.release(record.run_id)
    return record


def test_a_cross_validation_is_one_run_and_continues_at_the_fold_that_is_missing(
    with_folds: ComparisonRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job] = with_folds.jobs
    finished: list[FittedFold] = []

    def stop_after_two(fold: FittedFold) -> float:
        finished.append(fold)
        if len(finished) == 2:
            raise DivergenceError("interrupted")
        return measure_fold(fold)

    monkeypatch.setattr(steps, "measure_fold", stop_after_two)
    with pytest.raises(DivergenceError):
        steps.train_in_run(with_folds, job, None)
    trained = steps.train_in_run(with_folds, job, None)
    assert trained.restored_epochs == 4, "two epochs of each of two folds"
    assert (trained.model_uri, find_trained(with_folds, job)) == ("", trained)
    metrics, predictions = load_evaluation(trained.run_id), load_logged_predictions(trained.run_id)
    assert metrics is not None
    assert metrics["test_accuracy"] == predictions.correct.mean()
    assert predictions.indices.tolist() == list(range(1797))
    assert predictions.folds is not None
    accuracies = np.bincount(predictions.folds, weights=predictions.correct) / np.bincount(predictions.folds)
    logged = connect().get_metric_history(trained.run_id, FOLD_ACCURACY)
    assert [(point.step, point.value) for point in logged] == [*enumerate(accuracies, start=1)]
    assert len(connect().get_metric_history(trained.run_id, "val_accuracy")) == 2
    with pytest.raises(ConfigError, match="is a cross-validation, which is no single training"):
        load_record(connect().get_run(trained.run_id))
    # Without a model, none is registered.
    assert choose_best([trained.with_metrics(metrics)]) is None


def test_other_data_than_those_of_the_comparison_are_refused(digits: BoardData) -> None:
    with pytest.raises(DataError, match="is not the data of the comparison"):
        steps.provide_board(replace(digits.prepared, data_digest="0" * 64, dataset_folder=digits.prepared.split_file))
