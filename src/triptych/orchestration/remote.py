"""Panels that another work pool trains: a flow run of a deployment there, and the wait for its end."""

from __future__ import annotations

import time
from itertools import count
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from triptych.config.fields import Section
from triptych.config.schema import BoardConfig
from triptych.data.boards import prepare_board, require_same_data
from triptych.errors import ConfigError, RemotePanelError
from triptych.orchestration.interrupts import interrupts
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.registry.weights import pin_weights

SECONDS_BETWEEN_CHECKS = 2.0
# `automations.yaml` restarts a run a minute after it crashed.
SECONDS_FOR_A_RESTART = 300.0


def start_remote(deployment: str, parameters: dict[str, Any], key: str) -> str:
    """Start a flow run of a deployment, or find one that is running or completed for the same work; return its id.

    Args:
        deployment: `FLOW/NAME`.
        parameters: of the flow, as JSON values.
        key: identifies the work, so that it is not done twice.

    Raises:
        ConfigError: there is no such deployment.
    """
    # Prefect returns the run with the same key, which may have failed for an earlier attempt: the next key is tried.
    runs = (_run_once(deployment, parameters, f"{key}-{attempt}") for attempt in count())
    return next(str(run.id) for run in runs if not (run.state and run.state.is_final()) or run.state.is_completed())


def _run_once(deployment: str, parameters: dict[str, Any], key: str) -> FlowRun:
    try:
        remote: Any = run_deployment(deployment, parameters=parameters, timeout=0, idempotency_key=key)
    except ObjectNotFound as error:
        remedy = "deploy it with `prefect deploy --all --prefect-file machines.yaml`"
        raise ConfigError(f"there is no deployment {deployment}: {remedy}") from error
    return cast("FlowRun", remote)


def wait_for_remote(flow_run_id: str) -> None:
    """Wait until a flow run of another work pool is completed.

    Raises:
        RemotePanelError: it failed, was cancelled, or crashed and was not restarted.
        RunInterruptedError: the flow run that waits was interrupted.
    """
    crashed_since = None
    while True:
        interrupts.check(flow_run.id, f"while waiting for flow run {flow_run_id}")
        with get_client(sync_client=True) as client:
            remote = client.read_flow_run(UUID(flow_run_id))
        state = remote.state
        if state and state.is_completed():
            return
        crashed_since = (crashed_since or time.monotonic()) if state and state.is_crashed() else None
        abandoned = crashed_since is not None and time.monotonic() - crashed_since > SECONDS_FOR_A_RESTART
        if state and state.is_final() and (abandoned or not state.is_crashed()):
            raise RemotePanelError(_describe_end(remote, state))
        time.sleep(SECONDS_BETWEEN_CHECKS)


def _describe_end(remote: FlowRun, state: State) -> str:
    reason = f": {' '.join(state.message.split())}" if state.message else ""
    return f"flow run {remote.name} on work pool {remote.work_pool_name} ended as {state.name}{reason}"


class PanelOrder(Section):
    """The order to train one panel of a comparison: names, hashes and settings, no data."""

    panel: str
    """The panel, such as `numpy-mlp` or `resnet50`."""
    board: BoardConfig
    """The board's configuration, with all its panels."""
    comparison: str
    """The comparison's id."""
    experiment_id: str
    """MLflow's id of the board's experiment."""
    run_id: str
    """MLflow's id of the run named `comparison`."""
    data_digest: str
    """SHA-256 of the data, hexadecimal; different data are refused."""
    split_id: str
    """Id of the split; a different split is refused."""
    test_set_id: str
    """Id of the test set; a different test set, as of photos that are decoded differently, is refused."""
    fresh_since: float | None = None
    """Seconds since 1970: older trainings in the cache are not used; empty: all of them are."""


def write_order(comparison: ComparisonRecord, panel: str) -> PanelOrder:
    """Return the order for a panel of a comparison."""
    return PanelOrder(
        panel=panel,
        board=comparison.prepared.config,
        comparison=comparison.comparison,
        experiment_id=comparison.experiment_id,
        run_id=comparison.run_id,
        data_digest=comparison.prepared.data_digest,
        split_id=comparison.prepared.split_id,
        test_set_id=comparison.prepared.test_set_id,
        fresh_since=comparison.fresh_since,
    )


def open_order(order: PanelOrder) -> ComparisonRecord:
    """Return the comparison of an order on this machine: with its own copy of the data, and one panel to train.

    Raises:
        DataError: the data are missing on this machine, or are different.
    """
    prepared = prepare_board(pin_weights(order.board))
    require_same_data(prepared, order.data_digest, order.split_id, order.test_set_id)
    return ComparisonRecord(
        order.comparison, order.experiment_id, order.run_id, prepared, order.fresh_since, ordered=order.panel
    )
