"""The decorators of tasks, with what all tasks share: caching, retries and time limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from httpx import HTTPStatusError, TransportError
from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.task_engine import TaskRunTimeoutError
from prefect.tasks import exponential_backoff

from triptych.tracking.client import is_transient

RETRIES = 3
# Delays of 5, 10 and 20 seconds, each up to half as long again, so that tasks do not all retry at the same moment.
RETRY_DELAYS = exponential_backoff(backoff_factor=5)
RETRY_JITTER = 0.5

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def step(
    task_run_name: str, *, hours: float = 2.0
) -> Callable[[Callable[Parameters, Result]], Task[Parameters, Result]]:
    """Turn a function into a task that is retried after errors which may pass, and whose result is not cached.

    Args:
        task_run_name: name of its runs, with the function's parameters in braces.
        hours: time limit of a run.
    """
    return task(
        task_run_name=task_run_name,
        cache_policy=NO_CACHE,
        retries=RETRIES,
        retry_delay_seconds=RETRY_DELAYS,
        retry_jitter_factor=RETRY_JITTER,
        retry_condition_fn=may_succeed_again,
        timeout_seconds=hours * 3600.0,
    )


def long_step(task_run_name: str) -> Callable[[Callable[Parameters, Result]], Task[Parameters, Result]]:
    """Turn a function into a task as `step` does, with time for a training or an embedding that takes all night."""
    return step(task_run_name, hours=12.0)


def may_succeed_again(task: object, task_run: object, state: State) -> bool:
    """Return whether a task that failed is worth a retry; Prefect calls it.

    Bad input, a training that diverges and a task that exceeds its time limit fail again in the same way. A training
    that is retried continues its MLflow run from its checkpoint.
    """
    del task, task_run
    error = state.result(raise_on_failure=False)
    if not isinstance(error, Exception) or isinstance(error, TaskRunTimeoutError):
        return False
    return is_transient(error) or isinstance(error, TransportError) or is_overloaded(error)


def is_overloaded(error: Exception) -> bool:
    """Return whether Prefect's server could not answer for the moment; its client has retried already."""
    return isinstance(error, HTTPStatusError) and error.response.is_server_error
