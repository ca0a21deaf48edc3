"""Work that the machines of another work pool do: a flow run of a deployment there, and the wait for its end."""

from __future__ import annotations

import time
from itertools import count
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from triptych.config.fields import Section
from triptych.config.schema import BoardConfig
from triptych.data.boards import prepare_board, require_same_data
from triptych.errors import ConfigError, RemotePanelError
from triptych.orchestration.interrupts import refuse_interrupted
from triptych.tracking import ComparisonRecord, pin_weights

SECONDS_BETWEEN_LOOKS = 2.0
# A run that crashed is started again by `automations.yaml` a minute later.
SECONDS_FOR_A_RESTART = 300.0


def send_away(deployment: str, parameters: dict[str, Any], key: str) -> str:
    """Start a flow run of a deployment, or find the one that was started for the same; return its id.

    Args:
        deployment: `FLOW/NAME`.
        parameters: of the flow, as JSON values.
        key: names the work: what was begun or done for it is not begun again.

    Raises:
        ConfigError: there is no such deployment.
    """
    for attempt in count():
        try:
            sent: Any = run_deployment(deployment, parameters=parameters, timeout=0, idempotency_key=f"{key}-{attempt}")
        except ObjectNotFound as error:
            remedy = "deploy it with `prefect deploy --all --prefect-file machines.yaml`"
            raise ConfigError(f"there is no deployment {deployment}: {remedy}") from error
        # What failed for an earlier flow run is tried again.
        if not sent.state.is_final() or sent.state.is_completed():
            return str(sent.id)
    raise AssertionError


def wait_for_end(flow_run_id: str) -> None:
    """Wait until a flow run is completed.

    Raises:
        RemotePanelError: it ended otherwise.
        RunInterruptedError: the flow run that waits was interrupted meanwhile.
    """
    crashed_since = None
    while True:
        refuse_interrupted(flow_run.id, f"while waiting for flow run {flow_run_id}")
        with get_client(sync_client=True) as client:
            sent = client.read_flow_run(UUID(flow_run_id))
        if sent.state and sent.state.is_completed():
            return
        crashed = bool(sent.state and sent.state.is_crashed())
        crashed_since = (crashed_since or time.monotonic()) if crashed else None
        given_up = crashed_since is not None and time.monotonic() - crashed_since > SECONDS_FOR_A_RESTART
        if given_up or (sent.state and sent.state.is_final() and not crashed):
            raise RemotePanelError(_describe_end(sent))
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _describe_end(sent: FlowRun) -> str:
    state = sent.state
    assert state is not None  # noqa: S101 - it has ended
    told = f": {' '.join(state.message.split())}" if state.message else ""
    return f"flow run {sent.name} on work pool {sent.work_pool_name} ended as {state.name}{told}"


class PanelOrder(Section):
    """Which panel of which comparison; names, hashes and settings, and no data."""

    panel: str
    """The panel: `numpy-mlp`, `torch-mlp` or a torchvision network."""
    board: BoardConfig
    """The board's configuration, with all its panels."""
    comparison: str
    """The comparison's id."""
    experiment_id: str
    """MLflow's id of the board's experiment."""
    run_id: str
    """MLflow's id of the run named `comparison`."""
    data_digest: str
    """SHA-256 of the data, hexadecimal: other data are refused."""
    split_id: str
    """Id of the split, which must come out the same."""
    fresh_since: float | None = None
    """Seconds since 1970: trainings from before then are not taken up; empty: all are."""


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
        fresh_since=comparison.fresh_since,
    )


def open_order(order: PanelOrder) -> ComparisonRecord:
    """Return the comparison as this machine sees it: with its own copy of the data, and one panel to train.

    Raises:
        DataError: the data are missing here, or are others.
    """
    prepared = prepare_board(pin_weights(order.board))
    require_same_data(prepared, order.data_digest, order.split_id)
    return ComparisonRecord(
        order.comparison, order.experiment_id, order.run_id, prepared, order.fresh_since, ordered=order.panel
    )
