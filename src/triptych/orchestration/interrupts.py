"""Interrupts of flow runs, which their threads check themselves, because nothing else can stop a thread."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from triptych.errors import RunInterruptedError
from triptych.system.progress import tracking


class Interrupts:
    """The flow runs of this process that were interrupted."""

    def __init__(self) -> None:
        """Start without an interrupted flow run."""
        self._flow_runs: set[str] = set()

    def wait(self, futures: Sequence[PrefectFuture[Any]]) -> None:
        """Wait for all futures of this flow run; if the wait is interrupted, its threads stop at their next check."""
        shown = tracking("work on the cluster", passing=True) if is_on_cluster() else nullcontext()
        try:
            with shown:
                wait(list(futures))
        except BaseException:  # Ctrl-C, a termination signal or a cancellation
            self._flow_runs.add(flow_run.id)
            raise

    def check(self, flow_run_id: str, progress: str) -> None:
        """Stop the calling thread if its flow run was interrupted.

        Args:
            flow_run_id: Prefect's id of the flow run.
            progress: how far the work has come, for the error.

        Raises:
            RunInterruptedError: the flow run was interrupted.
        """
        if flow_run_id in self._flow_runs or is_cancelled():
            raise RunInterruptedError(f"interrupted {progress}")


def is_on_cluster() -> bool:
    """Return whether the tasks of this flow run are in other processes, whose progress is not shown here."""
    runner: object = getattr(FlowRunContext.get(), "task_runner", None)
    return runner is not None and not isinstance(runner, ThreadPoolTaskRunner)


def is_cancelled() -> bool:
    """Return whether Dask has cancelled the task of this thread, or closes its worker.

    Dask cancels the tasks of a client when the client ends, however it ends, but cannot stop their threads. A worker
    that closes waits four seconds for its threads; then it is killed.
    """
    if "distributed" not in sys.modules:
        return False
    from distributed import Status, get_worker

    try:
        worker = get_worker()
        task = worker.state.tasks.get(worker.get_current_task())
    except (ValueError, KeyError):  # no worker, or a thread that the task has started
        return False
    return worker.status == Status.closing or task is None or task.state == "cancelled"


# Of this process.
interrupts = Interrupts()
