"""Comparisons and studies that were interrupted: continued by one process at a time, or closed.

A process holds a lock file while it works on a comparison, or as a flow run on studies. The operating system releases
the lock however the process ends, so that a free lock means that nothing is working on the run.
"""

from __future__ import annotations

import socket
from pathlib import Path

import mlflow
from filelock import FileLock, Timeout
from mlflow.entities import Run

from triptych.errors import ConcurrentRunError
from triptych.system.paths import cache_home
from triptych.tracking.tags import COMPARISON, FLOW_RUN, HOST, IDENTITY, REPORTED, ROLE, STUDY, read_tags, search


class RunLocks:
    """The lock files of comparisons and flow runs that this process holds."""

    def __init__(self) -> None:
        """Start without a lock."""
        self._held: dict[str, FileLock] = {}

    def acquire(self, name: str) -> bool:
        """Acquire the lock of a comparison or a flow run; return whether it was free."""
        file = _lock_file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        self._held[name] = lock
        return True

    def release(self, name: str) -> None:
        """Release a lock, if this process holds it."""
        lock = self._held.pop(name, None)
        if lock is not None:
            _lock_file(name).unlink(missing_ok=True)
            lock.release()

    def holds(self, name: str) -> bool:
        """Return whether this process holds a lock."""
        return name in self._held


# Of this process.
locks = RunLocks()


def find_host() -> str:
    """Return the name of this machine, as runs are tagged with it."""
    return socket.gethostname()


def claim_interrupted(
    client: mlflow.MlflowClient, experiment_id: str, identity: str, flow_run: str | None, *, fresh: bool
) -> Run | None:
    """Return the run of the same comparison if it was interrupted, and acquire its lock; None if there is none.

    That is the last one of this machine. A flow run that Prefect restarts gets its own, from any machine.

    Args:
        client: of the tracking store.
        experiment_id: MLflow's id of the board's experiment.
        identity: hash of everything that the results depend on.
        flow_run: id of the flow run that asks.
        fresh: accept only a comparison of the same flow run.

    Raises:
        ConcurrentRunError: another process of the same flow run is working on it.
    """
    for run in _find_unreported(client, experiment_id, {IDENTITY: identity}):
        tags = read_tags(run)
        own = tags.get(FLOW_RUN) == flow_run is not None
        if not own and (fresh or tags[HOST] != find_host()):
            continue
        # A task that is retried holds the lock already.
        if (own and locks.holds(tags[COMPARISON])) or _claim_unreported(client, run):
            return run
        if own:
            raise ConcurrentRunError(
                f"another process of flow run {flow_run} is working on comparison {tags[COMPARISON]}: "
                "wait until it ends, or stop it"
            )
    return None


def close_abandoned(client: mlflow.MlflowClient, experiment_id: str) -> None:
    """Close the runs of an experiment that processes which no longer exist left in state RUNNING."""
    for run in _find_unreported(client, experiment_id, {HOST: find_host()}, status="RUNNING"):
        if _claim_unreported(client, run):
            comparison = read_tags(run)[COMPARISON]
            for abandoned in search(client, [experiment_id], {COMPARISON: comparison}, status="RUNNING"):
                client.set_terminated(abandoned.info.run_id, "KILLED")
            locks.release(comparison)


def claim_studies(client: mlflow.MlflowClient, experiment_id: str, flow_run: str) -> None:
    """Acquire the lock of a flow run on studies, and close the runs of others that were abandoned in state RUNNING.

    Any number of flow runs may work on one study at the same time, each on its own trials.

    Raises:
        ConcurrentRunError: another process of the same flow run is at work.
    """
    if not locks.holds(flow_run) and not locks.acquire(flow_run):
        raise ConcurrentRunError(f"another process of flow run {flow_run} is at work: wait until it ends, or stop it")
    for run in search(client, [experiment_id], {HOST: find_host()}, status="RUNNING"):
        tags = read_tags(run)
        if STUDY not in tags:
            continue
        owner = tags[FLOW_RUN]
        abandoned = owner == flow_run or locks.acquire(owner)
        if abandoned:
            client.set_terminated(run.info.run_id, "KILLED")
        if abandoned and owner != flow_run:
            locks.release(owner)


def _find_unreported(
    client: mlflow.MlflowClient, experiment_id: str, tags: dict[str, str], *, status: str = ""
) -> list[Run]:
    """Return comparisons without a report, the newest first."""
    runs = search(client, [experiment_id], {ROLE: "comparison", **tags}, status=status)
    return [run for run in runs if REPORTED not in read_tags(run)]


def _claim_unreported(client: mlflow.MlflowClient, run: Run) -> bool:
    """Acquire the lock of a comparison, unless the process that held it has just finished the comparison."""
    comparison = read_tags(run)[COMPARISON]
    if not locks.acquire(comparison):
        return False
    if REPORTED in read_tags(client.get_run(run.info.run_id)):
        locks.release(comparison)
        return False
    return True


def _lock_file(name: str) -> Path:
    return cache_home() / "locks" / f"{name}.lock"
