"""Studies whose trials only pretend to train."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from triptych.config.resolve import resolve_config
from triptych.config.trainers import MLPConfig
from triptych.data.boards import PreparedBoard
from triptych.training.epochs import EpochMetrics
from triptych.tuning.search_spaces import apply_parameters, find_space
from triptych.tuning.study import Fit, TrialOutcome, ask_trial, open_study, prepare_study, store_outcome, train_trial

PANEL = "numpy-mlp"


def name_board(prepared: PreparedBoard, name: str, *, epochs: int = 3) -> PreparedBoard:
    """Return a board of the digits under another name, which has studies of its own."""
    config = resolve_config("digits", panels=[PANEL], settings=[f"name={name}", f"numpy_mlp.epochs={epochs}"]).boards[0]
    return replace(prepared, config=config)


def run_trials(prepared: PreparedBoard, trials: int, fit: Fit) -> list[TrialOutcome]:
    """Do what workers do, without a tracker."""
    outcomes = []
    for index in [index for share in prepare_study(prepared, PANEL, trials, workers=1) for index in share]:
        study = open_study(prepared, PANEL)
        with ask_trial(study, find_space(prepared.config, PANEL, prepared.sizes["train"]), index) as trial:
            settings = apply_parameters(prepared.config.numpy_mlp, trial.params)
            outcomes.append(train_trial(trial, settings, fit, lambda metrics: None))
            store_outcome(study, trial, outcomes[-1])
    return outcomes


def pretend(score: Callable[[MLPConfig, int], float]) -> Fit:
    """Return a trainer whose validation loss after each epoch is known."""

    def fit(settings: MLPConfig, on_epoch: Callable[[EpochMetrics], None]) -> None:
        for epoch in range(1, settings.epochs + 1):
            on_epoch(EpochMetrics(epoch, settings.epochs, 1.0, 0.5, 0.0, score(settings, epoch), 0.5))

    return fit


def distance_from_a_tenth(settings: MLPConfig, epoch: int) -> float:
    """Return a loss that falls with the epochs, and is smallest for a learning rate of 0.1."""
    return abs(math.log10(settings.learning_rate) + 1.0) + 1.0 / epoch
