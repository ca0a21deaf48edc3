from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest

from helpers.studies import PANEL, distance_from_a_tenth, name_board, pretend
from triptych.config.trainers import MLPConfig
from triptych.data.boards import BoardData
from triptych.errors import DivergenceError
from triptych.orchestration.trials import TrialRunner, make_job
from triptych.tracking.leases import own_leases
from triptych.tracking.records import StudyRecord
from triptych.tracking.resume import name_share
from triptych.tracking.studies import find_trial_runs, start_study
from triptych.tracking.tags import FLOW_RUN, read_tags
from triptych.training.epochs import EpochMetrics, OnEpoch
from triptych.tuning.study import Fit, identify_study, list_failed, load_study, prepare_study


def test_a_trial_has_the_settings_that_were_suggested(digits: BoardData) -> None:
    prepared = name_board(digits.prepared, "suggested")
    job = make_job(prepared, PANEL, {"learning_rate": 0.25, "hidden_units": "[50, 50]"})
    assert (job.panel, job.repeat) == (PANEL, 0)
    assert (job.settings.learning_rate, job.settings.hidden_units) == (0.25, (50, 50))
    assert job.settings.keep_best_epoch


def diverge(settings: object, on_epoch: object) -> None:
    del settings, on_epoch
    raise DivergenceError("the training loss is nan")


def count_transactions(store: str) -> int:
    """Return the file change counter, which SQLite raises by one for each transaction that writes."""
    with Path(store.removeprefix("sqlite:///")).open("rb") as file:
        return int.from_bytes(file.read(28)[24:], "big")


@contextmanager
def open_runner(digits: BoardData, name: str, fit: Fit) -> Iterator[tuple[TrialRunner, StudyRecord]]:
    prepared = name_board(digits.prepared, name)
    shares, study = prepare_study(prepared, PANEL, 1, workers=1), identify_study(prepared, PANEL)
    failed = list_failed(load_study(study))
    record = start_study(prepared, PANEL, study, shares, {FLOW_RUN: name}, failed=failed)
    yield TrialRunner(record, fit), record
    own_leases.release(record.run_id, name_share(name))


@pytest.mark.parametrize(
    ("name", "fit", "text", "status"),
    [
        ("learns", pretend(distance_from_a_tenth), "trial 0 complete, val_loss", "FINISHED"),
        ("diverges", diverge, "trial 0 diverged, no epoch measured", "FAILED"),
    ],
)
def test_a_trial_is_logged_in_a_run_of_its_own_with_few_transactions(
    name: str, fit: Fit, text: str, status: str, digits: BoardData, own_store: str
) -> None:
    reported: list[str] = []
    with open_runner(digits, name, fit) as (runner, record):
        before = count_transactions(own_store)
        assert runner.run(0, reported.append).startswith(text)
        # The run, its parameters, its metrics, its tags, and its end.
        assert count_transactions(own_store) - before <= 5
    [run] = find_trial_runs(record.experiment_id, record.study)
    assert run.info.status == status
    assert run.data.params["numpy_mlp.hidden_units"] == str(list(record.prepared.config.numpy_mlp.hidden_units))
    steps = mlflow.MlflowClient(own_store).get_metric_history(run.info.run_id, "val_loss")
    assert [point.step for point in steps] == list(range(1, len(reported) + 1))


def test_a_long_trial_is_logged_while_it_trains_and_whole_if_it_is_interrupted(
    digits: BoardData, own_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def fit(settings: MLPConfig, on_epoch: OnEpoch) -> None:
        for epoch, seconds in ((1, 0.0), (2, 0.0), (3, 60.0)):
            monkeypatch.setattr("triptych.tracking.studies.SECONDS_BETWEEN_CALLS", seconds)
            on_epoch(EpochMetrics(epoch, settings.epochs, 1.0, 0.5, 0.0, 0.5, 0.5))
            seen.append(count_epochs())
        raise KeyboardInterrupt

    def count_epochs() -> int:
        [run] = find_trial_runs(record.experiment_id, record.study)
        return len(mlflow.MlflowClient(own_store).get_metric_history(run.info.run_id, "val_loss"))

    with open_runner(digits, "interrupted", fit) as (runner, record), pytest.raises(KeyboardInterrupt):
        runner.run(0, lambda text: None)
    assert (seen, count_epochs()) == ([1, 2, 2], 3)
    assert find_trial_runs(record.experiment_id, record.study)[0].info.status == "FAILED"


@pytest.mark.usefixtures("own_store")
def test_a_trial_that_is_logged_but_not_in_the_study_counts_once(
    digits: BoardData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*result: object) -> None:
        del result
        raise KeyboardInterrupt

    fit = pretend(distance_from_a_tenth)
    with monkeypatch.context() as patched, open_runner(digits, "twice", fit) as (runner, _):
        patched.setattr("triptych.orchestration.trials.store_outcome", interrupt)
        with pytest.raises(KeyboardInterrupt):
            runner.run(0, lambda text: None)
    with open_runner(digits, "twice", fit) as (runner, record):
        runner.run(0, lambda text: None)
    runs = find_trial_runs(record.experiment_id, record.study)
    assert [(run.info.status, read_tags(run).get("outcome")) for run in runs] == [
        ("KILLED", None),
        ("FINISHED", "complete"),
    ]
