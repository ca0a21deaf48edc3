"""Comparisons and studies that were cut off: taken up again by one process at a time, or closed.

A process holds a lock file for as long as it works on a comparison, or as a flow run on studies. The operating system
frees the lock however the process ends, so that nobody works on what has a lock that is free.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock, Timeout

from triptych.errors import ConcurrentRunError
from triptych.system.paths import cache_home

# What a comparison is of: a hash of all that its results depend on.
IDENTITY = "identity"
# The machine whose lock files tell whether anybody works on a run.
HOST = "host"
# The flow run that works on a run, or was the last to do so.
FLOW_RUN = "prefect.flow_run_id"
# Set with the report: nothing is left to do.
REPORTED = "reported"

_held: dict[str, FileLock] = {}


def find_host() -> str:
    """Return the name of this machine, as runs are tagged with it."""
    return socket.gethostname()


def claim(name: str) -> bool:
    """Take a comparison, or the work of a flow run, for this process; return whether nobody has it."""
    file = _lock_file(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    _held[name] = lock
    return True


def release(name: str) -> None:
    """Let go of what was claimed, if this process has it."""
    lock = _held.pop(name, None)
    if lock is not None:
        _lock_file(name).unlink(missing_ok=True)
        lock.release()


def take_up(
    client: mlflow.MlflowClient, experiment_id: str, identity: str, flow_run: str | None, *, fresh: bool
) -> Any | None:
    """Return the run of a comparison of the same that was cut off, now this process's; None where there is none.

    It is the last one of this machine or, where Prefect starts a flow run again, its own, wherever it was at work.

    Args:
        client: of the tracking store.
        experiment_id: the board's.
        identity: what is compared.
        flow_run: the id of the flow run that asks.
        fresh: look for the flow run's own alone.

    Raises:
        ConcurrentRunError: another process of the same flow run is at work on it.
    """
    for run in _find_unreported(client, experiment_id, f"tags.{IDENTITY} = '{identity}'"):
        own = run.data.tags.get(FLOW_RUN) == flow_run is not None
        if not own and (fresh or run.data.tags[HOST] != find_host()):
            continue
        # A step that is run again has claimed it already.
        if (own and run.data.tags["comparison"] in _held) or _claim_unreported(client, run):
            return run
        if own:
            raise ConcurrentRunError(
                f"another process of flow run {flow_run} is at work on comparison {run.data.tags['comparison']}: "
                "let it finish, or end it"
            )
    return None


def close_abandoned(client: mlflow.MlflowClient, experiment_id: str) -> None:
    """Close what processes that are gone left in state RUNNING in an experiment."""
    for run in _find_unreported(client, experiment_id, f"tags.{HOST} = '{find_host()}' and status = 'RUNNING'"):
        if _claim_unreported(client, run):
            comparison = run.data.tags["comparison"]
            query = f"tags.comparison = '{comparison}' and attributes.status = 'RUNNING'"
            for left in client.search_runs([experiment_id], query):
                client.set_terminated(left.info.run_id, "KILLED")
            release(comparison)


def claim_studies(client: mlflow.MlflowClient, experiment_id: str, flow_run: str) -> None:
    """Take the work on studies of a flow run for this process; close what others left in state RUNNING of theirs.

    Any number of processes may work on one study, each with trials of its own.

    Raises:
        ConcurrentRunError: another process of the same flow run is at work.
    """
    if flow_run not in _held and not claim(flow_run):
        raise ConcurrentRunError(f"another process of flow run {flow_run} is at work: let it finish, or end it")
    query = f"tags.{HOST} = '{find_host()}' and status = 'RUNNING' and tags.study != ''"
    for run in client.search_runs([experiment_id], query):
        whose = run.data.tags[FLOW_RUN]
        abandoned = whose == flow_run or claim(whose)
        if abandoned:
            client.set_terminated(run.info.run_id, "KILLED")
        if abandoned and whose != flow_run:
            release(whose)


def _find_unreported(client: mlflow.MlflowClient, experiment_id: str, condition: str) -> list[Any]:
    """Return comparisons without a report, the newest first."""
    query = f"tags.role = 'comparison' and {condition}"
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


def _lock_file(name: str) -> Path:
    return cache_home() / "locks" / f"{name}.lock"
