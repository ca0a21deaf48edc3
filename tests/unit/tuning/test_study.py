from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from helpers.studies import PANEL, distance_from_a_tenth, name_board, pretend, run_trials
from triptych.config.trainers import MLPConfig
from triptych.data.boards import BoardData, PreparedBoard
from triptych.errors import DivergenceError
from triptych.system.processes import ProcessMark
from triptych.training.epochs import EpochMetrics
from triptych.tuning.results import use_setting
from triptych.tuning.search_spaces import apply_parameters, find_space
from triptych.tuning.study import (
    PROCESS,
    TrialOutcome,
    ask_trial,
    identify_journal,
    identify_study,
    list_settled,
    open_study,
    prepare_study,
)

BACKBONE = "shufflenet_v2_x0_5"


def test_the_first_trial_is_the_panels_own_setting(digits: BoardData) -> None:
    prepared = name_board(digits.prepared, "own-first")
    prepare_study(prepared, PANEL, 1, workers=1)
    with ask_trial(
        open_study(prepared, PANEL), find_space(prepared.config, PANEL, prepared.sizes["train"]), 0
    ) as trial:
        settings = apply_parameters(prepared.config.numpy_mlp, trial.params)
    assert settings == prepared.config.numpy_mlp.model_copy(update={"keep_best_epoch": True})


def test_an_emptied_cache_starts_another_study_of_the_same_name(
    digits: BoardData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = identify_study(digits.prepared, PANEL)
    journals = []
    for home in ("first", "second", "first"):
        monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / home))
        prepare_study(digits.prepared, PANEL, 1, workers=1)
        journals.append(identify_journal(name))
    assert journals[0] == journals[2] != journals[1]


def test_a_study_has_another_name_where_its_trials_must_not_be_mixed(digits: BoardData) -> None:
    prepared = name_board(digits.prepared, "named")
    name = identify_study(prepared, PANEL)
    assert re.fullmatch(rf"named-numpy-mlp-{prepared.split_id}-[0-9a-f]{{12}}", name)

    def change(**fields: Any) -> PreparedBoard:
        settings = prepared.config.numpy_mlp.model_copy(update=fields)
        return replace(prepared, config=use_setting(prepared.config, PANEL, settings))

    assert identify_study(change(learning_rate=0.7, checkpoint_epochs=0), PANEL) == name
    others = [
        (change(activation="relu"), PANEL),
        (replace(prepared, config=prepared.config.model_copy(update={"class_weights": "balanced"})), PANEL),
        (replace(prepared, split_id="0" * 16), PANEL),
        (replace(prepared, dataset_folder=Path("other-pixels")), PANEL),
        (prepared, "torch-mlp"),
        (prepared, BACKBONE),
        (prepared, "resnet18"),
    ]
    assert len({name, *(identify_study(*other) for other in others)}) == 8


@pytest.mark.parametrize(("trials", "workers"), [(5, 2), (1, 4), (6, 3)])
def test_workers_share_exactly_the_trials_that_are_wanted(trials: int, workers: int, digits: BoardData) -> None:
    shares = prepare_study(name_board(digits.prepared, f"shares-{trials}"), PANEL, trials, workers)
    assert sorted(index for share in shares for index in share) == list(range(trials))
    assert len(shares) == min(trials, workers)


def test_a_trial_is_scored_by_its_best_epoch_on_the_monitored_metric(digits: BoardData) -> None:
    prepared = name_board(digits.prepared, "best-epoch", epochs=5)
    [outcome] = run_trials(prepared, 1, pretend(lambda settings, epoch: abs(epoch - 2.0)))
    assert outcome == TrialOutcome("complete", 0.0, 5)
    assert open_study(prepared, PANEL).best_value == 0.0


def test_hopeless_trials_are_pruned(digits: BoardData) -> None:
    prepared = name_board(digits.prepared, "hopeless", epochs=20)
    run_trials(prepared, 6, pretend(lambda settings, epoch: 1.0 / epoch))
    [outcome] = run_trials(prepared, 7, pretend(lambda settings, epoch: 9.0))
    assert outcome.state == "pruned"
    assert outcome.epochs < 10
    assert open_study(prepared, PANEL).trials[-1].state == optuna.trial.TrialState.PRUNED


def leave_dead_trial(prepared: PreparedBoard, index: int) -> AbstractContextManager[optuna.Trial]:
    """Leave a trial as a process does that is killed in the middle of it; while it is kept, it does not end."""
    study, space = open_study(prepared, PANEL), find_space(prepared.config, PANEL, prepared.sizes["train"])
    interrupted = ask_trial(study, space, index)
    trial = interrupted.__enter__()
    trial.report(0.5, 1)
    trial.set_user_attr(PROCESS, str(replace(ProcessMark.of_this_process(), started=0.0)))
    return interrupted


def test_a_study_that_is_killed_ends_as_an_undisturbed_one(digits: BoardData) -> None:
    undisturbed, killed = (name_board(digits.prepared, name) for name in ("undisturbed", "killed"))
    fit = pretend(distance_from_a_tenth)
    run_trials(undisturbed, 14, fit)
    kept = []
    for trials in (1, 4, 11, 13, 14):
        prepare_study(killed, PANEL, trials, workers=1)
        kept.append(leave_dead_trial(killed, len(list_settled(open_study(killed, PANEL)))))
        run_trials(killed, trials, fit)
    one, other = (list_settled(open_study(prepared, PANEL)) for prepared in (undisturbed, killed))
    assert [trial.params for trial in other] == [trial.params for trial in one]
    left = open_study(killed, PANEL).get_trials(states=(optuna.trial.TrialState.RUNNING,))
    assert not left
    assert open_study(killed, PANEL).best_params == open_study(undisturbed, PANEL).best_params


def test_a_trial_that_another_process_is_running_is_left_alone(digits: BoardData) -> None:
    prepared = name_board(digits.prepared, "at-work")
    prepare_study(prepared, PANEL, 2, workers=1)
    space = find_space(prepared.config, PANEL, prepared.sizes["train"])
    with ask_trial(open_study(prepared, PANEL), space, 0) as trial:
        prepare_study(prepared, PANEL, 2, workers=1)
        [found] = open_study(prepared, PANEL).get_trials(states=(optuna.trial.TrialState.RUNNING,))
        assert found.number == trial.number


def test_a_study_continues_after_a_trial_that_diverges(digits: BoardData) -> None:
    def fit(settings: MLPConfig, on_epoch: Callable[[EpochMetrics], None]) -> None:
        if settings.learning_rate > 0.05:
            raise DivergenceError("the training loss is nan")
        pretend(distance_from_a_tenth)(settings, on_epoch)

    outcomes = run_trials(name_board(digits.prepared, "diverged"), 8, fit)
    assert len(outcomes) == 8
    assert {outcome.state for outcome in outcomes} == {"complete", "diverged"}


def test_an_interrupted_trial_is_made_up_for(digits: BoardData) -> None:
    def interrupt(settings: object, on_epoch: object) -> None:
        del settings, on_epoch
        raise KeyboardInterrupt

    prepared = name_board(digits.prepared, "interrupted")
    with pytest.raises(KeyboardInterrupt):
        run_trials(prepared, 3, interrupt)
    assert list_settled(open_study(prepared, PANEL)) == []
    assert len(run_trials(prepared, 3, pretend(distance_from_a_tenth))) == 3


def test_a_continued_study_is_the_one_that_never_stopped(digits: BoardData) -> None:
    at_once, continued = (name_board(digits.prepared, name) for name in ("at-once", "continued"))
    fit = pretend(distance_from_a_tenth)
    run_trials(at_once, 14, fit)
    assert [len(run_trials(continued, trials, fit)) for trials in (5, 14, 14)] == [5, 9, 0]
    one, other = (open_study(prepared, PANEL).trials for prepared in (at_once, continued))
    assert [trial.params for trial in one] == [trial.params for trial in other]
    assert len({trial.params["learning_rate"] for trial in one}) == 14
