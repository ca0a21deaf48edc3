"""Comparisons and studies that were interrupted: continued by one process at a time, or closed.

A process that works on a comparison, or as a flow run on a study, holds a lease on its run.
"""

from __future__ import annotations

import mlflow
from mlflow.entities import Run

from triptych.errors import ConcurrentRunError
from triptych.system.processes import find_host
from triptych.tracking.leases import is_leased, own_leases, read_claims, read_lease
from triptych.tracking.tags import (
    COMPARISON,
    FLOW_RUN,
    HOST,
    IDENTITY,
    LEASE,
    REPORTED,
    ROLE,
    RUNNING,
    STUDY,
    read_tags,
    search,
)

# A board hardly has a comparison that was interrupted this often and never continued.
MOST_INTERRUPTED = 100


def claim_interrupted(
    client: mlflow.MlflowClient, experiment_id: str, identity: str, flow_run: str | None, *, fresh: bool
) -> Run | None:
    """Return the run of the same comparison if it was interrupted, and take its lease; None if there is none.

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
    same = {ROLE: "comparison", IDENTITY: identity}
    for run in search(client, [experiment_id], same, without=REPORTED, most=MOST_INTERRUPTED):
        tags = read_tags(run)
        own = tags.get(FLOW_RUN) == flow_run is not None
        if not own and (fresh or tags[HOST] != find_host()):
            continue
        # A task that is retried holds the lease already.
        if (own and own_leases.holds(run.info.run_id)) or _take_unreported(client, run):
            return run
        if own:
            raise ConcurrentRunError(
                f"another process of flow run {flow_run} is working on comparison {tags[COMPARISON]}: "
                "wait until it ends, or stop it"
            )
    return None


def close_abandoned(client: mlflow.MlflowClient, experiment_id: str) -> None:
    """Close the runs of an experiment that processes which no longer exist left in state RUNNING."""
    for run in search(client, [experiment_id], {ROLE: "comparison"}, without=REPORTED, where=RUNNING):
        if _may_be_abandoned(run) and _take_unreported(client, run):
            comparison = read_tags(run)[COMPARISON]
            for abandoned in search(client, [experiment_id], {COMPARISON: comparison}, where=RUNNING):
                client.set_terminated(abandoned.info.run_id, "KILLED")
            own_leases.release(run.info.run_id)


def claim_study(client: mlflow.MlflowClient, run: Run, flow_run: str) -> None:
    """Take the lease of a flow run on a study.

    Any number of flow runs may work on one study at the same time, each on its own trials.

    Args:
        client: of the tracking store.
        run: the run of the study.
        flow_run: id of the flow run that asks.

    Raises:
        ConcurrentRunError: another process of the same flow run is at work.
    """
    name = name_share(flow_run)
    if not own_leases.holds(run.info.run_id, name) and is_leased(read_lease(run, name), []):
        raise ConcurrentRunError(f"another process of flow run {flow_run} is at work: wait until it ends, or stop it")
    own_leases.hold(client, run.info.run_id, name)


def close_abandoned_trials(client: mlflow.MlflowClient, experiment_id: str, flow_run: str) -> None:
    """Close the runs of studies that other processes left in state RUNNING.

    Args:
        client: of the tracking store.
        experiment_id: MLflow's id of the board's experiment.
        flow_run: id of the flow run that asks, and has not started a trial yet.
    """
    roles = ("study", "trial")
    running = [run for role in roles for run in search(client, [experiment_id], {ROLE: role}, where=RUNNING)]
    names = {read_tags(run)[STUDY] for run in running}
    studies = {
        name: read_tags(run) for name in names for run in search(client, [experiment_id], {ROLE: "study", STUDY: name})
    }
    for run in running:
        tags = read_tags(run)
        leased = studies.get(tags[STUDY], {})
        shares = [name for name in leased if name.startswith(name_share(""))]
        if tags[ROLE] == "trial":
            shares = [name for name in shares if name == name_share(tags.get(FLOW_RUN, "")) != name_share(flow_run)]
        # A run of an earlier version never had a lease.
        if not any(is_leased(leased[name], []) for name in shares) and (shares or tags.get(HOST) == find_host()):
            client.set_terminated(run.info.run_id, "KILLED")


def name_share(flow_run: str) -> str:
    """Return the name of a flow run's lease on a study."""
    return f"{LEASE}.{flow_run}"


def _may_be_abandoned(run: Run) -> bool:
    """Return whether the absence of a live lease means anything: a run of an earlier version never had one."""
    return bool(read_lease(run) or read_claims(run)) or read_tags(run).get(HOST) == find_host()


def _take_unreported(client: mlflow.MlflowClient, run: Run) -> bool:
    """Take over a comparison, unless the process that had it has just finished it."""
    if not own_leases.take(client, run):
        return False
    if REPORTED in read_tags(client.get_run(run.info.run_id)):
        own_leases.release(run.info.run_id)
        return False
    return True
