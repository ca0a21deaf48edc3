"""Interrupts of flow runs, which their threads check themselves, because nothing else can stop a thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run

from triptych.errors import RunInterruptedError


class Interrupts:
    """The flow runs of this process that were interrupted."""

    def __init__(self) -> None:
        """Start without an interrupted flow run."""
        self._flow_runs: set[str] = set()

    def wait(self, futures: Sequence[PrefectFuture[Any]]) -> None:
        """Wait for all futures of this flow run; if the wait is interrupted, its threads stop at their next check."""
        try:
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
        if flow_run_id in self._flow_runs:
            raise RunInterruptedError(f"interrupted {progress}")


# Of this process.
interrupts = Interrupts()
