from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from triptych.config.resolve import resolve_config
from triptych.config.trainers import MLPConfig
from triptych.data.boards import BoardData, PreparedBoard
from triptych.errors import ConfigError
from triptych.training.epochs import EpochMetrics
from triptych.tuning.results import find_finished, summarise_study, use_tuned
from triptych.tuning.search_spaces import apply_parameters, find_space
from triptych.tuning.study import ask_trial, open_study, prepare_study, store_outcome, study_file, train_trial

PANEL = "numpy-mlp"


def name_board(digits: BoardData, name: str) -> PreparedBoard:
    config = resolve_config("digits", panels=[PANEL], settings=[f"name={name}", "numpy_mlp.epochs=2"]).boards[0]
    return replace(digits.prepared, config=config)


def pretend_to_train(settings: MLPConfig, on_epoch: Callable[[EpochMetrics], None]) -> None:
    """Report a validation loss that is the learning rate."""
    for epoch in range(1, settings.epochs + 1):
        on_epoch(EpochMetrics(epoch, settings.epochs, 1.0, 0.5, 0.0, settings.learning_rate, 0.5))


def run_trials(prepared: PreparedBoard, wanted: int) -> None:
    for index in [index for share in prepare_study(prepared, PANEL, wanted, workers=1) for index in share]:
        study = open_study(prepared, PANEL)
        with ask_trial(study, find_space(prepared.config, PANEL), index) as trial:
            settings = apply_parameters(prepared.config.numpy_mlp, trial.params)
            store_outcome(study, trial, train_trial(trial, settings, pretend_to_train, lambda metrics: None))


def test_the_best_setting_of_a_finished_study_is_used(digits: BoardData) -> None:
    prepared = name_board(digits, "finished")
    run_trials(prepared, 4)
    findings = summarise_study(prepared, PANEL)
    assert len(findings.trials) == 4
    assert findings.best.outcome.score == min(trial.fields["learning_rate"] for trial in findings.trials)
    assert use_tuned(prepared).config.numpy_mlp == findings.settings


def test_reading_a_study_leaves_its_file_as_it_is(digits: BoardData) -> None:
    prepared = name_board(digits, "read-only")
    assert find_finished(prepared, PANEL) is None
    run_trials(prepared, 1)
    [file] = study_file("").parent.glob("read-only-*.journal")
    before = file.read_bytes()
    assert find_finished(prepared, PANEL) == summarise_study(prepared, PANEL)
    assert file.read_bytes() == before


def test_an_unfinished_study_is_refused(digits: BoardData) -> None:
    prepared = name_board(digits, "unfinished")
    run_trials(prepared, 1)
    prepare_study(prepared, PANEL, 3, workers=1)
    with pytest.raises(ConfigError, match="has 1 of 3 trials: finish it with `triptych tune numpy-mlp --trials 3`"):
        use_tuned(prepared)
