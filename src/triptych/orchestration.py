"""What every task says to Prefect; the only module of this package that imports it."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from uuid import UUID

from prefect import Flow
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture, wait
from prefect.logging import get_run_logger
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from triptych.boards import Board, BoardRecord, load_board
from triptych.embedding_record import count_shards
from triptych.errors import DivergenceError, IncompleteComparisonError, InputError, InterruptedRunError
from triptych.panel_jobs import PanelJob
from triptych.panels import FittedPanel
from triptych.progress import track
from triptych.report import ComparisonResult, EvaluatedPanel, MissingPanel
from triptych.runners import THREADS, find_address
from triptych.threads import count_cores
from triptych.tracking import (
    ComparisonRecord,
    MetricLog,
    TrainedPanel,
    close_runs,
    find_trained,
    is_passing,
    log_fitted,
    note_trained,
    panel_run,
    pin_weights,
)
from triptych.training import EpochMetrics, OnEpoch

Result = TypeVar("Result")
# Flow runs of this process whose main thread has been told to stop.
_interrupted: set[str] = set()
Fit = Callable[[Board, PanelJob, Path, OnEpoch], FittedPanel]

# An update of the artifact is a request to the server: not for every epoch of a fast trainer.
SECONDS_BETWEEN_UPDATES = 2.0


def describe_flow_run() -> dict[str, str]:
    """Return the tags that lead from an MLflow run to the flow run that made it."""
    described = {"id": flow_run.id, "name": flow_run.name, "url": flow_run.ui_url}
    return {f"prefect.flow_run_{key}": str(value) for key, value in described.items() if value}


def open_board(record: BoardRecord) -> Board:
    """Open a board on this machine, which may be another worker's than the one that prepared it.

    Raises:
        DataError: the data are missing here, or are others.
    """
    pin_weights(record.config)
    return load_board(record)


def train_in_run(comparison: ComparisonRecord, job: PanelJob, fit: Fit) -> TrainedPanel:
    """Open a run, train one panel in it, and log every epoch, the figures and the model.

    A panel that was trained before its comparison was cut off is not trained again.

    Args:
        comparison: the comparison that the run belongs to.
        job: the panel and its repeat.
        fit: trains; called with the board, the job, a folder for the model and a callback for each epoch.
    """
    if trained := find_trained(comparison, job):
        get_run_logger().info("%s was trained before the comparison was cut off", job.run_label)
        return trained
    board = open_board(job.board)
    with panel_run(comparison, job, describe_flow_run()) as run_id, TemporaryDirectory() as folder:
        on_epoch = report_epochs(job.run_label, MetricLog(run_id).log_epoch)
        try:
            fitted = fit(board, job, Path(folder) / "model", on_epoch)
        except DivergenceError as error:
            raise DivergenceError(f"{job.run_label}: {error} ({job.kind}.learning_rate)") from error
        model_uri = log_fitted(run_id, job, fitted, board)
        return note_trained(TrainedPanel(job, run_id, model_uri, fitted.restored_epochs))


def collect_results(futures: Sequence[PrefectFuture[Result]], after: Sequence[PrefectFuture[Any]]) -> list[Result]:
    """Wait for all and return their results, or raise the error of the first that failed.

    Args:
        futures: whose results are wanted.
        after: what they depend on, looked at first: its own error says more than that an upstream task failed.
    """
    _wait_or_interrupt([*after, *futures])
    for future in after:
        future.result()
    return [future.result() for future in futures]


def collect_panels(
    jobs: Sequence[PanelJob],
    before: Sequence[Sequence[PrefectFuture[Any]]],
    trained: Sequence[PrefectFuture[TrainedPanel]],
    evaluated: Sequence[PrefectFuture[EvaluatedPanel]],
) -> tuple[list[EvaluatedPanel], list[MissingPanel]]:
    """Wait for all, and return the panels that were evaluated and those that are missing.

    Args:
        jobs: the trainings.
        before: for each of them what it had to wait for.
        trained: for each of them its training.
        evaluated: for each of them its evaluation.

    Raises:
        Exception: no panel was evaluated; it is the error of the first.
    """
    chains: list[list[PrefectFuture[Any]]] = [
        [*steps, training, evaluation] for steps, training, evaluation in zip(before, trained, evaluated, strict=True)
    ]
    _wait_or_interrupt([future for chain in chains for future in chain])
    panels, missing, errors = [], [], []
    for job, chain in zip(jobs, chains, strict=True):
        # What comes first says more than that something before it failed.
        error = next((error for future in chain if (error := _find_error(future))), None)
        if error is None:
            panels.append(chain[-1].result())
        else:
            errors.append(error)
            reason = " ".join(str(error).split()) or type(error).__name__
            missing.append(MissingPanel(job.run_label, reason, isinstance(error, InputError)))
    if not panels:
        raise errors[0]
    return panels, missing


def require_all_panels(results: list[ComparisonResult]) -> list[ComparisonResult]:
    """Return the results of all boards; every one is recorded already.

    Raises:
        IncompleteComparisonError: a panel is missing on one of them.
    """
    missing = [panel for result in results for panel in result.report.missing]
    if missing:
        reasons = dict.fromkeys(panel.reason for panel in missing)
        labels = {reason: ", ".join(panel.label for panel in missing if panel.reason == reason) for reason in reasons}
        told = "; ".join(f"{labels[reason]} ({reason})" for reason in reasons)
        bad_input = any(panel.bad_input for panel in missing)
        raise IncompleteComparisonError(f"the others were compared without {told}", results, bad_input=bad_input)
    return results


def _wait_or_interrupt(futures: list[PrefectFuture[Any]]) -> None:
    try:
        wait(futures)
    except BaseException:  # an interrupt, a termination signal, a cancellation: threads learn of it below
        _interrupted.add(flow_run.id)
        raise


def _find_error(future: PrefectFuture[Any]) -> Exception | None:
    try:
        future.result()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other panels are compared
        return error
    return None


def run_on(runner: str, flow: Flow[..., Result], *parameters: Any) -> Result:
    """Run a flow with its tasks where `--runner` says: see `triptych.runners.check_runner`."""
    if runner == THREADS:
        return flow(*parameters)
    from prefect_dask.task_runners import DaskTaskRunner

    address = find_address(runner)
    # On this machine as many workers as cores, at least two; pages of Dask's own stay on this machine.
    local = {"n_workers": max(2, count_cores()), "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    dask: Any = DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=local)
    return flow.with_options(task_runner=dask)(*parameters)


def share_shards(board: BoardRecord) -> list[range]:
    """Return which shards of a board's embeddings each task provides.

    In this process it is one task for all: several would only divide the same cores, and wait for each other's
    images. On a cluster it is one task for each shard, so that any worker can take the next one, and little is
    lost with a worker.
    """
    shards = count_shards(sum(board.sizes.values()))
    runner = FlowRunContext.get()
    if runner is None or isinstance(runner.task_runner, ThreadPoolTaskRunner):
        return [range(shards)]
    return [range(number, number + 1) for number in range(shards)]


def close_open_runs(flow: object, flow_run: FlowRun, state: State) -> None:
    """Close the MLflow runs that a flow run left open, as Prefect calls its hooks when one ends early."""
    del flow
    close_runs(str(flow_run.id), "KILLED" if state.is_cancelled() else "FAILED")


def tell_end(flow: object, flow_run: FlowRun, state: State) -> None:
    """Say in one line of the log, and on Prefect's page of artifacts, how a flow run ended and how long it took.

    Notifications are Prefect's own: an automation on the state of a flow run sends them.
    """
    seconds = flow_run.estimated_run_time.total_seconds()
    told = f"{flow_run.name} ended as {state.name} after {seconds:.0f} s"
    if not state.is_completed() and state.message:
        told += f": {' '.join(state.message.split())[:500]}"
    flow_run_logger(flow_run).log(logging.INFO if state.is_completed() else logging.ERROR, told)
    create_markdown_artifact(told, key=f"{name_key(str(getattr(flow, 'name', 'flow')))}-end", description=told)


def name_key(text: str) -> str:
    """Return a text as the key of a Prefect artifact: small letters, digits and dashes.

    >>> name_key("vgg16 (random weights) #1")
    'vgg16-random-weights-1'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def retry_if_passing(task: object, task_run: object, state: State) -> bool:
    """Tell Prefect whether a task that failed is to be run again: only where that may help.

    Bad input and a training that diverges fail the same way again. A training that is run again takes up its MLflow
    run and its checkpoint.
    """
    del task, task_run
    error = state.result(raise_on_failure=False)
    return isinstance(error, Exception) and is_passing(error)


# What every task is given: a few attempts, further and further apart, and not all tasks at the same moment.
STEP: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=5),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": retry_if_passing,
    "timeout_seconds": 2 * 3600,
}
# A training or embedding may take the night.
LONG_STEP = STEP | {"timeout_seconds": 12 * 3600}


class ProgressReporter:
    """Shows how far some work is: a bar in the terminal, a progress artifact on Prefect's page.

    Work that reports its progress also ends here, soon after its flow run was interrupted: nothing else can
    stop a thread.
    """

    def __init__(self, description: str, *, key: str = "") -> None:
        """Put up the bar and the artifact.

        Args:
            description: what is being done, for people.
            key: tells artifacts of the same description apart.
        """
        self._flow_run_id = flow_run.id
        self._move = track(description)
        named = name_key(f"{description} {key}")
        self._artifact: UUID = create_progress_artifact(0.0, key=named, description=description)  # type: ignore[assignment]
        self._updated = time.monotonic()

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        """Show that `done` of `total` units are finished.

        Raises:
            InterruptedRunError: the flow run was interrupted meanwhile.
        """
        if self._flow_run_id in _interrupted:
            raise InterruptedRunError(f"interrupted after {done} of {total}")
        self._move(done, total, detail)
        now = time.monotonic()
        if done == total or now - self._updated >= SECONDS_BETWEEN_UPDATES:
            self._updated = now
            update_progress_artifact(self._artifact, progress=100.0 * done / total)


def report_epochs(description: str, log: OnEpoch) -> OnEpoch:
    """Return a callback for a trainer: logs each epoch, shows progress, and tells Prefect's log the end."""
    report = ProgressReporter(description)

    def on_epoch(metrics: EpochMetrics) -> None:
        log(metrics)
        report(metrics.epoch, metrics.epochs, describe_epoch(metrics))
        if metrics.epoch == metrics.epochs:
            get_run_logger().info("%s: %s after %d epochs", description, describe_epoch(metrics), metrics.epochs)

    return on_epoch


def describe_epoch(metrics: EpochMetrics) -> str:
    """Return the metrics of an epoch in a few words."""
    if metrics.val_accuracy is None:
        return f"train accuracy {metrics.train_accuracy:.4f}"
    return f"validation accuracy {metrics.val_accuracy:.4f}"
