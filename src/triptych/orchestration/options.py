"""The options of every task: caching, retries, time limits."""

from __future__ import annotations

from typing import Any

from httpx import HTTPStatusError, TransportError
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.task_engine import TaskRunTimeoutError
from prefect.tasks import exponential_backoff

from triptych.tracking import is_passing


def retry_if_passing(task: object, task_run: object, state: State) -> bool:
    """Tell Prefect whether a task that failed is to be run again: only where that may help.

    Bad input, a training that diverges and a task that used up its time fail the same way again. A training that is
    run again takes up its MLflow run and its checkpoint.
    """
    del task, task_run
    error = state.result(raise_on_failure=False)
    if not isinstance(error, Exception) or isinstance(error, TaskRunTimeoutError):
        return False
    return is_passing(error) or isinstance(error, TransportError) or is_overloaded(error)


def is_overloaded(error: Exception) -> bool:
    """Return whether Prefect's server could not answer at the moment, as its client says after attempts of its own."""
    return isinstance(error, HTTPStatusError) and error.response.is_server_error


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
