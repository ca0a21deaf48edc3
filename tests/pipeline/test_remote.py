"""Flow runs of another work pool, on a real server; no worker runs them, so that the test sets their states."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Crashed, Failed, Running

from triptych.errors import ConfigError, RemotePanelError, RunInterruptedError
from triptych.orchestration import remote, start_remote, wait_for_remote
from triptych.orchestration.interrupts import interrupts

DEPLOYMENT = "elsewhere/gpu"


@flow
def elsewhere() -> None:
    """Be deployed."""


@pytest.fixture(scope="module", autouse=True)
def _deployment(prefect_server: None) -> None:
    del prefect_server
    with get_client(sync_client=True) as client:
        client.create_deployment(client.create_flow(elsewhere), "gpu")


def set_state(flow_run_id: str, state: State) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(flow_run_id), state, force=True)


def test_the_same_work_is_started_once_unless_it_failed() -> None:
    first = start_remote(DEPLOYMENT, {}, "once")
    assert start_remote(DEPLOYMENT, {}, "once") == first
    assert start_remote(DEPLOYMENT, {}, "other work") != first
    set_state(first, Failed(message="no memory"))
    second = start_remote(DEPLOYMENT, {}, "once")
    assert second != first
    set_state(second, Running())
    assert start_remote(DEPLOYMENT, {}, "once") == second
    set_state(second, Completed())
    assert start_remote(DEPLOYMENT, {}, "once") == second


def test_a_deployment_that_does_not_exist_is_bad_input() -> None:
    with pytest.raises(ConfigError, match=r"no deployment elsewhere/tpu: deploy it with `prefect deploy --all"):
        start_remote("elsewhere/tpu", {}, "once")


@pytest.mark.parametrize("state", [Failed, Cancelled])
def test_a_run_that_ends_without_success_is_an_error_with_its_reason(state: Callable[..., State]) -> None:
    run = start_remote(DEPLOYMENT, {}, f"ends as {state.__name__}")
    set_state(run, state(message="no\nmemory"))
    with pytest.raises(RemotePanelError, match=rf"ended as {state.__name__}: no memory$"):
        wait_for_remote(run)


def test_a_crashed_run_is_waited_for_until_its_restart_is_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    run = start_remote(DEPLOYMENT, {}, "crashes")
    set_state(run, Crashed(message="killed"))
    monkeypatch.setattr(remote, "SECONDS_BETWEEN_CHECKS", 0.0)
    checks = []

    def restart_at_the_third_check(flow_run_id: str, progress: str) -> None:
        del flow_run_id
        checks.append(progress)
        if len(checks) == 3:
            set_state(run, Completed())

    monkeypatch.setattr(interrupts, "check", restart_at_the_third_check)
    wait_for_remote(run)
    assert len(checks) == 3
    set_state(run, Crashed(message="killed"))
    monkeypatch.setattr(remote, "SECONDS_FOR_A_RESTART", -1.0)
    with pytest.raises(RemotePanelError, match="ended as Crashed: killed"):
        wait_for_remote(run)


def test_an_interrupted_flow_run_ends_its_threads_at_their_next_check(monkeypatch: pytest.MonkeyPatch) -> None:
    run = start_remote(DEPLOYMENT, {}, "never ends")
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", "interrupted flow run")

    def interrupt(futures: object) -> None:
        del futures
        raise KeyboardInterrupt

    monkeypatch.setattr("triptych.orchestration.interrupts.wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        interrupts.wait([])
    with pytest.raises(RunInterruptedError, match=f"interrupted while waiting for flow run {run}"):
        wait_for_remote(run)
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", "another flow run")
    set_state(run, Completed())
    wait_for_remote(run)
