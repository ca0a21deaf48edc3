"""How far a task is, on Prefect's page and in the terminal; and where its flow run is found."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from triptych.orchestration.interrupts import refuse_interrupted
from triptych.system.progress import track
from triptych.training.epochs import EpochMetrics, OnEpoch

# An update of the artifact is a request to the server: not for every epoch of a fast trainer.
SECONDS_BETWEEN_UPDATES = 2.0
T = TypeVar("T")


def describe_flow_run() -> dict[str, str]:
    """Return the tags that lead from an MLflow run to the flow run that made it; a temporary server has no page."""
    url = url_for("flow-run", obj_id=flow_run.id) if flow_run.id else None
    described = {"id": flow_run.id, "name": flow_run.name, "url": url}
    return {f"prefect.flow_run_{key}": str(value) for key, value in described.items() if value}


def name_key(text: str) -> str:
    """Return a text as the key of a Prefect artifact: small letters, digits and dashes.

    >>> name_key("vgg16 (random weights) #1")
    'vgg16-random-weights-1'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


class ProgressReporter:
    """Shows how far some work is: a bar in the terminal, a progress artifact on Prefect's page.

    Work that reports its progress also ends here, soon after its flow run was interrupted.
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
        create = partial(create_progress_artifact, 0.0, key=named, description=description)
        self._artifact: UUID | None = try_to_tell(create)  # type: ignore[assignment]
        self._updated = time.monotonic()

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        """Show that `done` of `total` units are finished.

        Raises:
            RunInterruptedError: the flow run was interrupted meanwhile.
        """
        refuse_interrupted(self._flow_run_id, f"after {done} of {total}")
        self._move(done, total, detail)
        now = time.monotonic()
        if self._artifact and (done == total or now - self._updated >= SECONDS_BETWEEN_UPDATES):
            self._updated = now
            try_to_tell(partial(update_progress_artifact, self._artifact, progress=100.0 * done / total))


def try_to_tell(tell: Callable[[], T]) -> T | None:
    """Tell Prefect's server something that is only for people: the work goes on where the server can't take it."""
    try:
        return tell()
    except HTTPError as error:
        get_run_logger().warning("Prefect's server was not told how far this is: %r", error)
        return None


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
