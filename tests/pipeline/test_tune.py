"""Tuning: real Optuna, real MLflow on sqlite, a real Prefect server."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import optuna
import pytest
import yaml

from flows.compare import compare
from flows.tune import tune
from triptych.commands.preflight import check_tuning
from triptych.config.resolve import Config, resolve_config
from triptych.config.schema import BoardConfig
from triptych.config.trainers import MLPConfig, TransferConfig
from triptych.data.boards import BoardData, PreparedBoard, prepare_board
from triptych.errors import ConfigError, DivergenceError
from triptych.tracking import connect
from triptych.tracking.studies import find_trial_runs
from triptych.tracking.tags import read_tags, select
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import list_jobs
from triptych.tuning.results import TuningResult, summarise_study, use_setting, use_tuned
from triptych.tuning.search_spaces import SEARCH_SPACES, apply_parameters, find_space
from triptych.tuning.study import (
    Fit,
    TrialOutcome,
    ask_trial,
    identify_study,
    list_settled,
    open_study,
    prepare_study,
    store_outcome,
    train_trial,
)
from triptych.tuning.trainers import load_trainer

BACKBONE = "shufflenet_v2_x0_5"


def make_config(name: str, *, panels: tuple[str, ...] = ("numpy-mlp",), epochs: int = 3) -> Config:
    return resolve_config(
        "digits", panels=panels, settings=[f"name={name}", f"numpy_mlp.epochs={epochs}", "transfer.epochs=5"]
    )


def make_record(name: str, *, epochs: int = 3) -> PreparedBoard:
    return prepare_board(make_config(name, epochs=epochs).boards[0])


def run_trials(prepared: PreparedBoard, trials: int, fit: Fit) -> list[TrialOutcome]:
    """What workers do, without a tracker."""
    [share] = prepare_study(prepared, "numpy-mlp", trials, workers=1) or [range(0)]
    outcomes = []
    for index in share:
        study = open_study(prepared, "numpy-mlp")
        with ask_trial(study, SEARCH_SPACES["numpy_mlp"], index) as trial:
            settings = apply_parameters(prepared.config.numpy_mlp, trial.params)
            outcomes.append(train_trial(trial, settings, fit, lambda metrics: None))
            store_outcome(study, trial, outcomes[-1])
    return outcomes


def pretend(score: Callable[[MLPConfig, int], float]) -> Fit:
    """Return a trainer whose validation loss is known."""

    def fit(settings: MLPConfig, on_epoch: Callable[[EpochMetrics], None]) -> None:
        for epoch in range(1, settings.epochs + 1):
            on_epoch(EpochMetrics(epoch, settings.epochs, 1.0, 0.5, 0.0, score(settings, epoch), 0.5))

    return fit


def distance_from_a_tenth(settings: MLPConfig, epoch: int) -> float:
    return abs(math.log10(settings.learning_rate) + 1.0) + 1.0 / epoch


# What is searched


@pytest.mark.parametrize("kind", SEARCH_SPACES)
def test_every_searched_field_is_one_of_its_section(kind: str) -> None:
    section = TransferConfig if kind.startswith("transfer") else MLPConfig
    assert set(SEARCH_SPACES[kind]) <= set(section.model_fields)


def test_the_first_trial_is_the_panels_own_setting(digits: BoardData) -> None:
    record = replace(digits.prepared, config=make_config("own-first").boards[0])
    prepare_study(record, "numpy-mlp", 1, workers=1)
    study = open_study(record, "numpy-mlp")
    with ask_trial(study, SEARCH_SPACES["numpy_mlp"], 0) as trial:
        settings = apply_parameters(record.config.numpy_mlp, trial.params)
    assert settings == record.config.numpy_mlp.model_copy(update={"keep_best_epoch": True})


def test_the_name_of_a_study_tells_everything_apart_that_must_not_be_mixed() -> None:
    record = make_record("named")
    name = identify_study(record, "numpy-mlp")
    assert re.fullmatch(rf"named-numpy-mlp-{record.split_id}-[0-9a-f]{{12}}", name)
    searched = record.config.numpy_mlp.model_copy(update={"learning_rate": 0.7, "checkpoint_epochs": 0})
    fixed = record.config.numpy_mlp.model_copy(update={"activation": "relu"})
    assert (
        identify_study(replace(record, config=use_setting(record.config, "numpy-mlp", searched)), "numpy-mlp") == name
    )
    others = [
        (replace(record, config=use_setting(record.config, "numpy-mlp", fixed)), "numpy-mlp"),
        (replace(record, split_id="0" * 16), "numpy-mlp"),
        (replace(record, dataset_folder=Path("other-pixels")), "numpy-mlp"),
        (record, "torch-mlp"),
        (record, BACKBONE),
        (record, "resnet18"),
    ]
    assert len({name, *(identify_study(*other) for other in others)}) == 7


def test_of_a_layer_that_is_solved_for_only_the_penalty_is_searched() -> None:
    config = resolve_config("digits", settings=["transfer.head=lbfgs"]).boards[0]
    assert set(find_space(config, BACKBONE)) == {"weight_decay"}


@pytest.mark.parametrize(("trials", "workers"), [(5, 2), (1, 4), (6, 3)])
def test_workers_share_out_just_the_trials_that_are_wanted(trials: int, workers: int) -> None:
    shares = prepare_study(make_record(f"shares-{trials}"), "numpy-mlp", trials, workers)
    assert sorted(index for share in shares for index in share) == list(range(trials))
    assert len(shares) == min(trials, workers)


# What a trial is worth


def test_trials_see_the_validation_part_and_never_the_test_part(digits: BoardData) -> None:
    settings = digits.prepared.config.numpy_mlp.model_copy(update={"epochs": 2})

    def validate(data: BoardData) -> list[dict[str, float]]:
        heard: list[EpochMetrics] = []
        load_trainer(data, "numpy-mlp", None)(settings, heard.append)
        return [{**metrics.values(), "epoch_seconds": 0.0} for metrics in heard]

    def spoil(part: str) -> BoardData:
        pixels, labels = np.array(digits.pixels), digits.labels.copy()
        indices = getattr(digits.split, part)
        pixels[indices], labels[indices] = 0, 0
        return replace(digits, pixels=pixels, labels=labels)

    assert validate(spoil("test")) == validate(digits)
    assert validate(spoil("validation")) != validate(digits)


def test_a_trial_is_worth_its_best_epoch_on_the_monitored_figure() -> None:
    record = make_record("best-epoch", epochs=5)
    [outcome] = run_trials(record, 1, pretend(lambda settings, epoch: abs(epoch - 2.0)))
    assert outcome == TrialOutcome("complete", 0.0, 5)
    assert open_study(record, "numpy-mlp").best_value == 0.0


def test_hopeless_trials_are_pruned() -> None:
    record = make_record("hopeless", epochs=20)
    run_trials(record, 6, pretend(lambda settings, epoch: 1.0 / epoch))
    [outcome] = run_trials(record, 7, pretend(lambda settings, epoch: 9.0))
    assert outcome.state == "pruned"
    assert outcome.epochs < 10
    assert open_study(record, "numpy-mlp").trials[-1].state == optuna.trial.TrialState.PRUNED


def test_a_diverged_trial_counts_and_the_study_goes_on() -> None:
    record = make_record("diverged")

    def fit(settings: MLPConfig, on_epoch: Callable[[EpochMetrics], None]) -> None:
        if settings.learning_rate > 0.05:
            raise DivergenceError("the training loss is nan")
        pretend(distance_from_a_tenth)(settings, on_epoch)

    outcomes = run_trials(record, 8, fit)
    assert {"complete", "diverged"} == {outcome.state for outcome in outcomes}
    findings = summarise_study(record, "numpy-mlp")
    assert findings.best.fields["learning_rate"] <= 0.05
    assert len(findings.trials) == 8
    assert "diverged" in findings.verdict


def test_a_study_in_which_everything_diverges_says_so() -> None:
    record = make_record("all-diverged")
    run_trials(record, 2, pretend(lambda settings, epoch: math.nan))
    with pytest.raises(DivergenceError, match="none of the 2 trials of numpy-mlp on board all-diverged"):
        summarise_study(record, "numpy-mlp")


def test_an_interrupted_trial_is_made_up_for() -> None:
    record = make_record("interrupted")
    with pytest.raises(KeyboardInterrupt):
        run_trials(record, 3, _interrupt)
    assert list_settled(open_study(record, "numpy-mlp")) == []
    assert len(run_trials(record, 3, pretend(distance_from_a_tenth))) == 3


def _interrupt(settings: Any, on_epoch: Any) -> None:
    del settings, on_epoch
    raise KeyboardInterrupt


def test_a_continued_study_is_the_one_that_never_stopped() -> None:
    at_once, continued = make_record("at-once"), make_record("continued")
    fit = pretend(distance_from_a_tenth)
    run_trials(at_once, 14, fit)
    assert [len(run_trials(continued, trials, fit)) for trials in (5, 14, 14)] == [5, 9, 0]
    one, other = (open_study(record, "numpy-mlp").trials for record in (at_once, continued))
    assert [trial.params for trial in one] == [trial.params for trial in other]
    assert len({trial.params["learning_rate"] for trial in one}) == 14


# What a comparison takes over


def test_tuned_needs_a_finished_study() -> None:
    record = make_record("unfinished")
    with pytest.raises(ConfigError, match=r"--tuned finds no study of numpy-mlp on board unfinished .*triptych tune"):
        use_tuned(record)
    run_trials(record, 2, pretend(distance_from_a_tenth))
    prepare_study(record, "numpy-mlp", 4, workers=1)
    with pytest.raises(ConfigError, match=r"has 2 of 4 trials: finish it with `triptych tune numpy-mlp --trials 4`"):
        use_tuned(record)


def test_each_pretrained_network_has_its_own_tuned_head() -> None:
    config = BoardConfig(panels=("vgg16", "resnet50"))
    config = use_setting(config, "resnet50", TransferConfig(learning_rate=0.5, epochs=7))
    record = replace(make_record("heads"), config=config)
    rates = {job.panel: job.prepared.config.transfer.learning_rate for job in list_jobs(record)}
    assert rates == {"vgg16": 0.01, "resnet50": 0.5}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("networks={resnet5: {epochs: 3}}", "networks has 'resnet5', which is not a pretrained network.*did you mean"),
        ("networks={resnet50: {epoch: 3}}", "networks.resnet50: unknown field 'epoch'"),
        ("networks={resnet50: {weights: random}}", "the same for all networks: set transfer.weights"),
        ("networks={resnet50: {epochs: 0}}", "networks.resnet50: epochs = 0 is not allowed"),
    ],
)
def test_wrong_networks_are_named(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_config("digits", settings=[setting])


@pytest.mark.parametrize(
    ("settings", "trials", "workers", "message"),
    [
        ([], 0, 1, "--trials 0 is not allowed"),
        ([], 1, 0, "--workers 0 is not allowed"),
        (["split.validation_fraction=0"], 1, 1, "validation set, but it is empty on board digits: set split"),
    ],
)
def test_what_cannot_be_tuned_is_said_before_anything_starts(
    settings: list[str], trials: int, workers: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_tuning(resolve_config("digits", panels=["numpy-mlp"], settings=settings), trials, workers)


def test_help_has_an_example_and_a_wrong_panel_is_one_line() -> None:
    triptych = str(Path(sys.executable).with_name("triptych"))
    printed = subprocess.run([triptych, "tune", "--help"], capture_output=True, text=True, check=True).stdout
    assert all(word in printed for word in ("PANEL", "--trials", "--workers", "triptych tune numpy-mlp --trials 20"))
    done = subprocess.run([triptych, "tune", "numpy-ml"], capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
    assert "did you mean 'numpy-mlp'?" in done.stderr


# The whole


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
    line = f"tuned on the validation part: numpy-mlp with 5 trials, {BACKBONE} with 5 trials"
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
    space = {
        **SEARCH_SPACES["numpy_mlp"],
        "learning_rate": optuna.distributions.FloatDistribution(0.01, 1e12, log=True),
    }
    monkeypatch.setitem(SEARCH_SPACES, "numpy_mlp", space)
    settings = ["name=far", "numpy_mlp.epochs=2", "numpy_mlp.activation=relu", "numpy_mlp.loss=cross_entropy"]
    [result] = tune(resolve_config("digits", panels=["numpy-mlp"], settings=settings), trials=4, workers=1)
    _, trials = find_study_runs("far", result.findings.study)
    statuses = {read_tags(run)["outcome"]: run.info.status for run in trials}
    assert statuses["diverged"] == "FAILED"
    assert statuses["complete"] == "FINISHED"
    assert "too large" in next(read_tags(run)["diverged"] for run in trials if read_tags(run)["outcome"] == "diverged")


def test_an_interrupt_closes_the_study_and_its_trials(prefect_server: None, tmp_path: Path) -> None:
    from prefect.settings import get_current_settings

    del prefect_server
    environment = {
        **os.environ,
        **get_current_settings().to_environment_variables(exclude_unset=True),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'interrupted.db'}",
    }
    command = [str(Path(sys.executable).with_name("triptych")), "tune", "numpy-mlp", "--trials", "2"]
    command += ["--set", "numpy_mlp.epochs=1000000"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])

    def find_runs() -> list[Any]:
        experiment = client.get_experiment_by_name("digits")
        return list(client.search_runs([experiment.experiment_id])) if experiment else []

    deadline = time.monotonic() + 120.0
    while not any("val_loss" in run.data.metrics for run in find_runs()):
        assert time.monotonic() < deadline, "no epoch was logged"
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "triptych: interrupted; open runs were closed" in printed
    assert {read_tags(run)["role"]: run.info.status for run in find_runs()} == {"study": "FAILED", "trial": "FAILED"}
