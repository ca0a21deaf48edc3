"""Comparisons that were cut off: taken up again by one process at a time, or closed.

A process holds a lock file for as long as it works on a comparison. The operating system frees the lock however
the process ends, so that a comparison whose lock is free has nobody who works on it.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock, Timeout

from triptych.paths import cache_home

# What a comparison is of: a hash of all that its results depend on.
IDENTITY = "identity"
# The machine whose lock files tell whether anybody works on a comparison.
HOST = "host"
# Set with the report: nothing is left to do.
REPORTED = "reported"

_held: dict[str, FileLock] = {}


def find_host() -> str:
    """Return the name of this machine, as comparisons are tagged with it."""
    return socket.gethostname()


def claim(comparison: str) -> bool:
    """Take a comparison for this process; return whether nobody else has it."""
    file = _lock_file(comparison)
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    _held[comparison] = lock
    return True


def release(comparison: str) -> None:
    """Let go of a comparison, if this process has it."""
    lock = _held.pop(comparison, None)
    if lock is not None:
        _lock_file(comparison).unlink(missing_ok=True)
        lock.release()


def take_up(client: mlflow.MlflowClient, experiment_id: str, identity: str) -> Any | None:
    """Return the run of the last comparison that was cut off and is of the same, now this process's; else None."""
    for run in _find_unreported(client, experiment_id, f" and tags.{IDENTITY} = '{identity}'"):
        if _claim_unreported(client, run):
            return run
    return None


def close_abandoned(client: mlflow.MlflowClient, experiment_id: str) -> None:
    """Close what processes that are gone left in state RUNNING in an experiment."""
    for run in _find_unreported(client, experiment_id, " and attributes.status = 'RUNNING'"):
        if _claim_unreported(client, run):
            comparison = run.data.tags["comparison"]
            query = f"tags.comparison = '{comparison}' and attributes.status = 'RUNNING'"
            for left in client.search_runs([experiment_id], query):
                client.set_terminated(left.info.run_id, "KILLED")
            release(comparison)


def _find_unreported(client: mlflow.MlflowClient, experiment_id: str, condition: str) -> list[Any]:
    """Return this machine's comparisons without a report, the newest first."""
    query = f"tags.role = 'comparison' and tags.{HOST} = '{find_host()}'{condition}"
    runs = client.search_runs([experiment_id], query, order_by=["attributes.start_time DESC"])
    return [run for run in runs if REPORTED not in run.data.tags]


def _claim_unreported(client: mlflow.MlflowClient, run: Any) -> bool:
    """Take a comparison, unless whoever had it until now has just finished it."""
    comparison = run.data.tags["comparison"]
    if not claim(comparison):
        return False
    if REPORTED in client.get_run(run.info.run_id).data.tags:
        release(comparison)
        return False
    return True


def _lock_file(comparison: str) -> Path:
    return cache_home() / "locks" / f"comparison-{comparison}.lock"
