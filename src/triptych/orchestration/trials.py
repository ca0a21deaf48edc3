"""One trial of a study, from Optuna's suggestion to its nested run in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from triptych.config.trainers import kind_of_panel
from triptych.data.boards import PreparedBoard
from triptych.tracking import MetricLog, StudyRecord, log_outcome, trial_run
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import PanelJob
from triptych.tuning.search_spaces import apply_parameters, find_space
from triptych.tuning.study import Fit, ask_trial, open_study, store_outcome, train_trial


def run_trial(record: StudyRecord, index: int, fit: Fit, report: Callable[[str], None]) -> str:
    """Run one trial of a study, and return its outcome in a few words.

    Args:
        record: the study.
        index: index of the trial among those that are planned.
        fit: the trainer; called with the settings and a callback for each epoch.
        report: called with the progress after each epoch; may raise an error to stop the trial.
    """
    study = open_study(record.prepared, record.panel)
    with ask_trial(
        study, find_space(record.prepared.config, record.panel, record.prepared.sizes["train"]), index
    ) as trial:
        job = make_job(record.prepared, record.panel, trial.params)
        with trial_run(record, job, trial.number) as run_id:
            log = MetricLog(run_id)

            def on_epoch(metrics: EpochMetrics) -> None:
                log.log_epoch(metrics)
                report(f"trial {trial.number}, epoch {metrics.epoch} of {metrics.epochs}")

            outcome = train_trial(trial, job.settings, fit, on_epoch)
            log_outcome(run_id, job, outcome)
        store_outcome(study, trial, outcome)
    score = "no epoch measured" if outcome.score is None else f"{job.settings.monitor} {outcome.score:.4f}"
    return f"trial {trial.number} {outcome.state}, {score}"


def make_job(prepared: PreparedBoard, panel: str, parameters: Mapping[str, Any]) -> PanelJob:
    """Return the first repeat of a panel with the settings that Optuna suggested."""
    settings = apply_parameters(prepared.config.settings_of(panel), dict(parameters))
    config = prepared.config.model_copy(update={kind_of_panel(panel): settings, "networks": {}})
    return PanelJob(replace(prepared, config=config), panel, 0)
