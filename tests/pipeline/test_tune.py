"""Tuning: real Optuna, real MLflow on sqlite, a real Prefect server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from flows.compare import compare
from flows.tune import tune
from triptych.config.resolve import Config, resolve_config
from triptych.errors import ConfigError
from triptych.panels.spaces import MLP_SPACE, Range
from triptych.tracking.client import connect
from triptych.tracking.studies import find_trial_runs
from triptych.tracking.tags import read_tags, select
from triptych.tuning.results import TuningResult

BACKBONE = "shufflenet_v2_x0_5"


def make_config(name: str, *, panels: tuple[str, ...] = ("numpy-mlp",), epochs: int = 3) -> Config:
    return resolve_config(
        "digits", panels=panels, settings=[f"name={name}", f"numpy_mlp.epochs={epochs}", "transfer.epochs=5"]
    )


@pytest.fixture(scope="module")
def tuned_config() -> Config:
    return make_config("tuned", panels=("numpy-mlp", BACKBONE), epochs=4)


@pytest.fixture(scope="module")
def tuned(prefect_server: None, tuned_config: Config) -> list[TuningResult]:
    """Three trials of each panel, then five in all."""
    del prefect_server
    tune(tuned_config, trials=3, workers=2)
    return tune(tuned_config, trials=5, workers=2)


def find_study_runs(name: str, study: str) -> tuple[Any, list[Any]]:
    experiment = connect().get_experiment_by_name(name)
    assert experiment is not None
    query = select({"study": study, "role": "study"})
    [run] = connect().search_runs([experiment.experiment_id], query)
    return run, find_trial_runs(experiment.experiment_id, study)


def test_a_continued_study_has_one_run_with_every_trial_nested(tuned: list[TuningResult]) -> None:
    for result in tuned:
        study, trials = find_study_runs("tuned", result.findings.study)
        assert study.info.status == "FINISHED"
        assert sorted(int(read_tags(run)["trial"]) for run in trials) == list(range(5))
        assert {read_tags(run)["mlflow.parentRunId"] for run in trials} == {study.info.run_id}
        assert {run.info.status for run in trials} <= {"FINISHED", "KILLED", "FAILED"}


def test_trials_hold_their_setting_their_curve_and_what_came_of_them(tuned: list[TuningResult]) -> None:
    findings = tuned[0].findings
    _, runs = find_study_runs("tuned", findings.study)
    for trial in findings.trials:
        [run] = [run for run in runs if read_tags(run)["trial"] == str(trial.number)]
        assert {name: run.data.params[f"numpy_mlp.{name}"] for name in trial.fields} == {
            name: str(value) for name, value in trial.fields.items()
        }
        curve = connect().get_metric_history(run.info.run_id, "val_loss")
        assert [point.step for point in curve] == list(range(1, trial.outcome.epochs + 1))
        assert run.data.metrics["best_val_loss"] == trial.outcome.score == min(point.value for point in curve)
        assert read_tags(run)["outcome"] == trial.outcome.state
        assert not [name for name in run.data.metrics if name.startswith("test_")]


def test_the_best_setting_is_kept_as_parameters_and_as_a_file_for_compare(
    tuned: list[TuningResult], tmp_path: Path
) -> None:
    for result, kind in zip(tuned, ("numpy_mlp", "transfer"), strict=True):
        study, _ = find_study_runs("tuned", result.findings.study)
        text = mlflow.artifacts.load_text(f"{study.info.artifact_uri}/best.yaml")
        assert text == Path(result.file).read_text(encoding="utf-8")
        assert yaml.safe_load(text)["preset"] == "digits"
        (tmp_path / "best.yaml").write_text(text)
        board = resolve_config(panels=[result.findings.panel], file=tmp_path / "best.yaml").boards[0]
        settings = getattr(board.for_panel(result.findings.panel), kind)
        assert settings == result.findings.settings
        best = result.findings.best
        kept = {name: study.data.params[f"best_of_5.{name}"] for name in best.fields}
        assert kept == {name: str(value) for name, value in best.fields.items()}
        assert study.data.metrics["best_val_loss"] == best.outcome.score


def test_compare_uses_the_tuned_settings_and_says_so(tuned: list[TuningResult], tuned_config: Config) -> None:
    [result] = compare(tuned_config.model_copy(update={"tuned": True}))
    line = f"tuned on the validation set: numpy-mlp with 5 trials, {BACKBONE} with 5 trials"
    assert line in result.report.caveats
    experiment = connect().get_experiment_by_name("tuned")
    assert experiment is not None
    query = select({"comparison": result.comparison, "role": "panel"})
    runs = {read_tags(run)["panel"]: run for run in connect().search_runs([experiment.experiment_id], query)}
    for tuning, kind in zip(tuned, ("numpy_mlp", "transfer"), strict=True):
        run = runs[tuning.findings.panel]
        fields = tuning.findings.settings.model_dump(mode="json")
        assert {name: run.data.params[f"{kind}.{name}"] for name in fields} == {
            name: str(value) for name, value in fields.items()
        }
    # The same weights, batches and steps as in the trial: the network that was chosen is the one compared.
    best = tuned[0].findings.best
    losses = [point.value for point in connect().get_metric_history(runs["numpy-mlp"].info.run_id, "val_loss")]
    assert min(losses) == pytest.approx(best.outcome.score, rel=1e-6)


def test_a_study_that_has_enough_trials_trains_nothing(tuned: list[TuningResult], tuned_config: Config) -> None:
    again = tune(tuned_config, trials=4, workers=1)
    assert [result.findings for result in again] == [result.findings for result in tuned]
    for result in again:
        study, trials = find_study_runs("tuned", result.findings.study)
        assert (study.info.status, len(trials)) == ("FINISHED", 5)


def test_a_diverged_trial_is_marked_and_stops_nothing(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    del prefect_server
    space = {**MLP_SPACE, "learning_rate": Range(0.01, 1e12, log=True)}
    monkeypatch.setattr("triptych.panels.kinds.MLP_SPACE", space)
    settings = ["name=far", "numpy_mlp.epochs=2", "numpy_mlp.activation=relu", "numpy_mlp.loss=cross_entropy"]
    [result] = tune(resolve_config("digits", panels=["numpy-mlp"], settings=settings), trials=4, workers=1)
    _, trials = find_study_runs("far", result.findings.study)
    statuses = {read_tags(run)["outcome"]: run.info.status for run in trials}
    assert statuses["diverged"] == "FAILED"
    assert statuses["complete"] == "FINISHED"
    assert "too large" in next(read_tags(run)["diverged"] for run in trials if read_tags(run)["outcome"] == "diverged")


def test_classifiers_that_are_fitted_in_one_go_are_tuned_and_used(prefect_server: None, photos: Path) -> None:
    """On twenty-odd training images, of which no more neighbours are asked for than there are."""
    del prefect_server
    panels = ["nearest-neighbours", "logistic-regression"]
    config = resolve_config("photos", data=str(photos), panels=panels, settings=["repeats=1", "name=one-go"])
    results = tune(config, trials=4, workers=1)
    for result in results:
        _, runs = find_study_runs(config.boards[0].name, result.findings.study)
        assert {read_tags(run)["trained_epochs"] for run in runs} == {"1 of 1"}
        assert len(result.findings.trials) == 4
    [compared] = compare(config.model_copy(update={"tuned": True}))
    assert len(compared.report.standings) == 2


def test_a_panel_without_anything_to_tune_is_refused(prefect_server: None) -> None:
    del prefect_server
    with pytest.raises(ConfigError, match="most-frequent has nothing to tune: choose another panel"):
        tune(resolve_config("digits", panels=["most-frequent"]), trials=1, workers=1)
