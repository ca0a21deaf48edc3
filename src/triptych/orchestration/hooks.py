"""The end of flow runs: their MLflow runs are closed, the end is reported, and the number of restarts is limited."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Flow, flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run as this_flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from triptych.errors import RestartLimitError, escape_controls
from triptych.orchestration.progress import name_key
from triptych.system.text import escape_markdown
from triptych.tracking.runs import close_runs

# Starts of a flow run: the first one, and restarts after crashes.
MAX_STARTS = 5
# Of the message of a state: that of an unexpected error may hold a whole log.
MOST_CHARACTERS = 4000

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def close_open_runs(flow: object, flow_run: FlowRun, state: State) -> None:
    """Close the MLflow runs that a flow run left open; Prefect calls it when one ends early."""
    del flow
    close_runs(str(flow_run.id), "KILLED" if state.is_cancelled() else "FAILED")


def report_end(flow: object, flow_run: FlowRun, state: State) -> None:
    """Report in one line of the log, and as an artifact, how a flow run ended, how long it took, and its result.

    Notifications are sent by Prefect itself, with an automation on the state of flow runs.
    """
    title = f"{flow_run.name} ended as {state.name}"
    if flow_run.start_time:  # unknown to a worker that reports a crash
        title += f" after {(state.timestamp - flow_run.start_time).total_seconds():.0f} s"
    lines = (state.message or "")[:MOST_CHARACTERS].splitlines()
    text = " ".join(": ".join(filter(None, [title, " ".join(lines)])).split())
    flow_run_logger(flow_run).log(logging.INFO if state.is_completed() else logging.ERROR, "%s", escape_controls(text))
    shown = "\n\n".join([f"# {escape_markdown(title)}", *map(escape_markdown, lines)])
    # With the id of the flow run: a worker that reports a crash, or an interrupted process, is not in its context.
    key = f"{name_key(str(getattr(flow, 'name', 'flow')))}-end"
    described = f"**{escape_markdown(title)}** {escape_markdown(' '.join(lines))}"
    artifact = ArtifactCreate(key=key, type="markdown", data=shown, description=described, flow_run_id=flow_run.id)
    with get_client(sync_client=True) as client:
        client.create_artifact(artifact)


def tracked_flow(
    flow_run_name: str, max_workers: int | None = None
) -> Callable[[Callable[Parameters, Result]], Flow[Parameters, Result]]:
    """Turn a function into a flow whose end is reported, and whose MLflow runs are closed if it ends early.

    Args:
        flow_run_name: name of its runs, with the function's parameters in braces.
        max_workers: threads for its tasks; None: as many as there are tasks.
    """
    # Prefect's type of the parameter excludes its own task runners.
    threads: Any = ThreadPoolTaskRunner(max_workers=max_workers)
    return flow(
        flow_run_name=flow_run_name,
        task_runner=threads,
        on_completion=[report_end],
        on_failure=[close_open_runs, report_end],
        on_crashed=[close_open_runs, report_end],
        on_cancellation=[close_open_runs, report_end],
    )


def enforce_restart_limit() -> None:
    """Stop a flow run that crashes again and again, for instance because it needs more memory than there is.

    `automations.yaml` restarts every flow run that crashed, but none that failed.

    Raises:
        RestartLimitError: the flow run was started more than `MAX_STARTS` times.
    """
    if (this_flow_run.run_count or 0) > MAX_STARTS:
        raise RestartLimitError(
            f"this flow run crashed {MAX_STARTS} times: find the reason in the worker's log, then start a new one"
        )
