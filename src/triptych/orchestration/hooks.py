"""How a flow run ends: what it left open is closed, one line says how it went, and at some point it is enough."""

from __future__ import annotations

import logging
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run as this_flow_run

from triptych.errors import RestartLimitError
from triptych.orchestration.progress import name_key
from triptych.tracking import close_runs

# How often a flow run is started, at first and after crashes.
MAX_STARTS = 5


def close_open_runs(flow: object, flow_run: FlowRun, state: State) -> None:
    """Close the MLflow runs that a flow run left open, as Prefect calls its hooks when one ends early."""
    del flow
    close_runs(str(flow_run.id), "KILLED" if state.is_cancelled() else "FAILED")


def tell_end(flow: object, flow_run: FlowRun, state: State) -> None:
    """Say in one line of the log, and on Prefect's page of artifacts, how a flow run ended and how long it took.

    Notifications are Prefect's own: an automation on the state of a flow run sends them.
    """
    told = f"{flow_run.name} ended as {state.name}"
    if flow_run.start_time:  # a worker that tells of a crash may not know
        told += f" after {(state.timestamp - flow_run.start_time).total_seconds():.0f} s"
    if not state.is_completed() and state.message:
        told += f": {' '.join(state.message.split())[:500]}"
    flow_run_logger(flow_run).log(logging.INFO if state.is_completed() else logging.ERROR, told)
    # By its number: a worker tells of a crash, and an interrupted process of its end, outside of the run.
    key = f"{name_key(str(getattr(flow, 'name', 'flow')))}-end"
    artifact = ArtifactCreate(key=key, type="markdown", data=told, description=told, flow_run_id=flow_run.id)
    with get_client(sync_client=True) as client:
        client.create_artifact(artifact)


# What every flow is given.
ENDS: dict[str, Any] = {
    "on_completion": [tell_end],
    "on_failure": [close_open_runs, tell_end],
    "on_crashed": [close_open_runs, tell_end],
    "on_cancellation": [close_open_runs, tell_end],
}


def enforce_restart_limit() -> None:
    """Give up a flow run that crashed again and again, as one does that asks for more memory than there is.

    `automations.yaml` starts every flow run again that crashed; one that failed stays so.

    Raises:
        RestartLimitError: it was started more than `MAX_STARTS` times.
    """
    if (this_flow_run.run_count or 0) > MAX_STARTS:
        raise RestartLimitError(
            f"this flow run was cut off {MAX_STARTS} times: find out why in the worker's log, then start another"
        )
