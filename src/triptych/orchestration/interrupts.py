"""Flow runs that are told to stop: their threads learn of it, as nothing else can stop a thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run

from triptych.errors import RunInterruptedError

# Flow runs of this process whose main thread has been told to stop.
_interrupted: set[str] = set()


def wait_or_interrupt(futures: Sequence[PrefectFuture[Any]]) -> None:
    """Wait for all; let their threads know where the wait is cut short."""
    try:
        wait(list(futures))
    except BaseException:  # an interrupt, a termination signal, a cancellation
        _interrupted.add(flow_run.id)
        raise


def refuse_interrupted(flow_run_id: str, told: str) -> None:
    """Raise where a flow run was told to stop.

    Raises:
        RunInterruptedError: it was; `told` says how far the work had come.
    """
    if flow_run_id in _interrupted:
        raise RunInterruptedError(f"interrupted {told}")
