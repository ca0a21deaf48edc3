"""The trials of a study, each from Optuna's suggestion to its nested run in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from triptych.config.trainers import kind_of_panel
from triptych.data.boards import PreparedBoard
from triptych.tracking.provenance import describe_board
from triptych.tracking.records import StudyRecord
from triptych.tracking.studies import trial_run
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import PanelJob
from triptych.tuning.search_spaces import apply_parameters, find_space
from triptych.tuning.study import Fit, ask_trial, open_study, store_outcome, train_trial


class TrialRunner:
    """Runs the trials of one worker, one after another; what they share is read once."""

    def __init__(self, record: StudyRecord, fit: Fit) -> None:
        """Open the study.

        Args:
            record: the study.
            fit: the trainer; called with the settings and a callback for each epoch.
        """
        self._record, self._fit = record, fit
        self._study = open_study(record.prepared, record.panel)
        self._space = find_space(record.prepared.config, record.panel, record.prepared.sizes["train"])
        self._provenance = describe_board(record.prepared)

    def run(self, index: int, report: Callable[[str], None]) -> str:
        """Run one trial, and return its outcome in a few words.

        Args:
            index: index of the trial among those that are planned.
            report: called with the progress after each epoch; may raise an error to stop the trial.
        """
        with ask_trial(self._study, self._space, index) as trial:
            job = make_job(self._record.prepared, self._record.panel, trial.params)
            with trial_run(self._record, job, trial.number, self._provenance) as run:

                def on_epoch(metrics: EpochMetrics) -> None:
                    run.log_epoch(metrics)
                    report(f"trial {trial.number}, epoch {metrics.epoch} of {metrics.epochs}")

                outcome = train_trial(trial, job.settings, self._fit, on_epoch)
                run.log_outcome(job, outcome)
            store_outcome(self._study, trial, outcome)
        score = "no epoch measured" if outcome.score is None else f"{job.settings.monitor} {outcome.score:.4f}"
        return f"trial {trial.number} {outcome.state}, {score}"


def make_job(prepared: PreparedBoard, panel: str, parameters: Mapping[str, Any]) -> PanelJob:
    """Return the first repeat of a panel with the settings that Optuna suggested."""
    settings = apply_parameters(prepared.config.settings_of(panel), dict(parameters))
    networks = prepared.config.select_networks(panel)
    config = prepared.config.model_copy(update={kind_of_panel(panel): settings, "networks": networks})
    return PanelJob(replace(prepared, config=config), panel, 0)
