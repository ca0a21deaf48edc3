"""The progress of tasks, on Prefect's page and in the terminal, and the link to their flow run."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.utilities.urls import url_for

from triptych.orchestration.interrupts import interrupts
from triptych.orchestration.reports import reports
from triptych.system.environment import TEMPORARY_SERVER
from triptych.system.progress import OnProgress, tracking
from triptych.training.epochs import EpochMetrics, OnEpoch

# An update of the artifact is a request to the server, too slow for every epoch of a fast trainer.
SECONDS_BETWEEN_UPDATES = 2.0


def has_pages() -> bool:
    """Return whether there is a server of Prefect with pages, not only the temporary one."""
    return get_current_settings().api.url is not None and not _is_temporary()


def _is_temporary() -> bool:
    return os.environ.get(TEMPORARY_SERVER, "") == get_current_settings().api.url


def describe_flow_run() -> dict[str, str]:
    """Return the tags that link an MLflow run to its flow run, if that has a page."""
    url = url_for("flow-run", obj_id=flow_run.id) if flow_run.id and not _is_temporary() else None
    described = {"id": flow_run.id, "name": flow_run.name, "url": url}
    return {f"prefect.flow_run_{key}": str(value) for key, value in described.items() if value}


def name_key(text: str) -> str:
    """Return a text as the key of a Prefect artifact: lower-case letters, digits and dashes.

    >>> name_key("vgg16 (random weights) #1")
    'vgg16-random-weights-1'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


class ProgressReporter:
    """Shows the progress of some work in the terminal, and as a progress artifact on Prefect's page.

    Work that reports its progress stops here if its flow run was interrupted.
    """

    def __init__(self, description: str, move: OnProgress, *, key: str = "") -> None:
        """Create the artifact.

        Args:
            description: the work, as users see it.
            move: shows the progress in the terminal.
            key: distinguishes artifacts with the same description.
        """
        self._flow_run_id = flow_run.id
        self._move = move
        self._artifact: UUID | None = None
        self._create = partial(
            create_progress_artifact, key=name_key(f"{description} {key}"), description=f"Progress: {description}"
        )
        self._send(0.0)

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        """Show that `done` of `total` units are finished.

        Raises:
            RunInterruptedError: the flow run was interrupted.
        """
        interrupts.check(self._flow_run_id, f"after {done} of {total}")
        self._move(done, total, detail)
        if done == total or time.monotonic() - self._sent >= SECONDS_BETWEEN_UPDATES:
            self._send(100.0 * done / total)

    def _send(self, percent: float) -> None:
        self._sent = time.monotonic()
        reports.send(self, partial(self._write_artifact, percent))

    def _write_artifact(self, percent: float) -> None:
        if self._artifact is None:
            self._artifact = self._create(percent)  # type: ignore[assignment]
        else:
            update_progress_artifact(self._artifact, progress=percent)


@contextmanager
def reporting(description: str, *, key: str = "", passing: bool = False) -> Iterator[ProgressReporter]:
    """Show the progress of some work while the block runs.

    Args:
        description: the work, as users see it.
        key: distinguishes artifacts with the same description.
        passing: show it in the terminal only while it lasts.
    """
    with tracking(description, passing=passing) as move:
        yield ProgressReporter(description, move, key=key)


@contextmanager
def reporting_epochs(description: str, log: OnEpoch) -> Iterator[OnEpoch]:
    """Yield a callback for a trainer that logs each epoch, shows the progress, and logs the result in Prefect."""

    def on_epoch(metrics: EpochMetrics) -> None:
        log(metrics)
        report(metrics.epoch, metrics.epochs, describe_epoch(metrics))
        if metrics.epoch == metrics.epochs:
            get_run_logger().info("%s: %s after %d epochs", description, describe_epoch(metrics), metrics.epochs)

    with reporting(description) as report:
        yield on_epoch


def describe_epoch(metrics: EpochMetrics) -> str:
    """Return the metrics of an epoch in a few words."""
    if metrics.val_accuracy is None:
        return f"train accuracy {metrics.train_accuracy:.4f}"
    return f"validation accuracy {metrics.val_accuracy:.4f}"
