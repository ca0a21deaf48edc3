"""The work of the tasks that open a board and train a panel."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect.logging import get_run_logger

from triptych.data.boards import BoardData, PreparedBoard, open_board
from triptych.errors import DivergenceError
from triptych.evaluation.folds.pooling import measure_fold
from triptych.orchestration.progress import describe_flow_run, reporting, reporting_epochs
from triptych.panels.fitting import FittedFold, fit_folds, fit_panel
from triptych.system.progress import tracking
from triptych.tracking.artifacts import FOLD_ACCURACY, log_fitted, log_folds
from triptych.tracking.leases import own_leases
from triptych.tracking.metrics import MetricLog
from triptych.tracking.records import ComparisonRecord, TrainedPanel
from triptych.tracking.registry.weights import pin_weights
from triptych.tracking.runs import find_trained, note_trained, panel_run
from triptych.tracking.sharing.finished import share_finished
from triptych.tracking.sharing.trunks import share_trunk
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import PanelJob
from triptych.transfer.records import EmbeddingRecord

# Prefect warns for every task on a thread that its time limit is checked only between two steps of Python code.
# Trainings have thousands of these.
logging.getLogger("prefect.task_runs").addFilter(
    lambda record: "task is running in a worker thread" not in str(record.msg)
)


def provide_board(prepared: PreparedBoard) -> BoardData:
    """Open a board on this machine, which may be another worker's than the one that prepared it.

    Raises:
        DataError: the data are missing here, or are others.
    """
    pin_weights(prepared.config)
    return open_board(prepared)


def train_in_run(comparison: ComparisonRecord, job: PanelJob, embedded: EmbeddingRecord | None) -> TrainedPanel:
    """Train a panel in a run of MLflow, and log every epoch, the metrics and the model.

    A panel that was trained before its comparison was interrupted is not trained again, and the run of an identical
    training that an earlier comparison finished is shared.

    Args:
        comparison: the comparison that the run belongs to.
        job: the panel and its repeat.
        embedded: the record of the embeddings of its backbone, if it has one.
    """
    if trained := find_trained(comparison, job):
        get_run_logger().info("%s was trained before the comparison was interrupted", job.run_label)
        return replace(trained, embedded=embedded)
    if shared := share_finished(comparison, job, embedded, logging.getLogger(__name__).warning):
        get_run_logger().info("%s: an identical training is finished, run %s", job.run_label, shared.run_id)
        return shared
    data = provide_board(job.prepared)
    train = _cross_validate if job.prepared.config.split.folds else _train_once
    with panel_run(comparison, job, describe_flow_run()) as run_id:
        try:
            trained = train(comparison, run_id, data, job, embedded)
        except DivergenceError as error:
            raise DivergenceError(f"{job.run_label}: {error} ({job.kind}.learning_rate)") from error
        return note_trained(trained)


def _train_once(
    comparison: ComparisonRecord, run_id: str, data: BoardData, job: PanelJob, embedded: EmbeddingRecord | None
) -> TrainedPanel:
    """Train a panel on the training set of its board, and log its model, which is evaluated next."""
    log = MetricLog(run_id)

    def log_epoch(metrics: EpochMetrics) -> None:
        own_leases.require(comparison.run_id)
        log.log_epoch(metrics)

    with TemporaryDirectory() as folder:
        with log, reporting_epochs(job.run_label, log_epoch) as on_epoch:
            fitted = fit_panel(data, job, Path(folder) / "model", on_epoch, embedded)
        own_leases.require(comparison.run_id)
        with tracking(f"save {job.run_label}", passing=True):
            share_trunk(comparison.experiment_id, job, fitted.folder)
            model_uri = log_fitted(run_id, job, fitted, data)
    return TrainedPanel(job, run_id, model_uri, fitted.restored_epochs, embedded)


def _cross_validate(
    comparison: ComparisonRecord, run_id: str, data: BoardData, job: PanelJob, embedded: EmbeddingRecord | None
) -> TrainedPanel:
    """Train a panel for each fold, and log the predictions of all images: it is evaluated, and has no model."""
    log = MetricLog(run_id)
    folds: list[FittedFold] = []
    total = job.prepared.config.split.folds

    def report_epoch(metrics: EpochMetrics) -> None:
        own_leases.require(comparison.run_id)
        done = len(folds) * metrics.epochs + metrics.epoch
        report(done, total * metrics.epochs, f"fold {len(folds) + 1} of {total}")

    with reporting(job.run_label) as report:
        for fold in fit_folds(data, job, report_epoch, embedded):
            folds.append(fold)
            log.log({FOLD_ACCURACY: measure_fold(fold)}, step=len(folds))
    own_leases.require(comparison.run_id)
    log_folds(run_id, job, folds, embedded)
    return TrainedPanel(job, run_id, "", sum(fold.restored_epochs for fold in folds), embedded)
