"""A promotion that waits for somebody's answer on Prefect's page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.flow_runs import resume_flow_run

from flows.compare import compare
from helpers.waiting import wait_until
from triptych.config.resolve import resolve_config
from triptych.orchestration import approvals
from triptych.tracking.registry.versions import find_champion

SETTINGS = ("promote.approval=true", "name=approvals", "logistic_regression.max_iterations=20")


def find_paused() -> Any:
    with get_client(sync_client=True) as client:
        paused = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PAUSED"]}}})
        return next(iter(client.read_flow_runs(flow_run_filter=paused)), None)


@pytest.fixture
def config(prefect_server: None, own_store: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    del prefect_server, own_store
    monkeypatch.setattr(approvals, "SECONDS_BETWEEN_CHECKS", 1)
    return lambda *more: resolve_config("digits", panels=["logistic-regression"], settings=[*SETTINGS, *more])


def test_the_flow_run_pauses_until_somebody_approves(config: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(compare, config())
        paused = wait_until(find_paused, "a paused flow run", seconds=120)
        assert find_champion("approvals") is None
        resume_flow_run(paused.id, run_input={"approve": True})
        [result] = running.result(timeout=120)
    assert find_champion("approvals") is not None
    assert "approvals/1 was approved by hand; logistic-regression (version 1) remains the champion" in result.promotion


@pytest.mark.endurance
def test_without_an_answer_in_time_the_champion_stays(config: Any) -> None:
    [result] = compare(config("promote.approval_hours=0.001"))
    assert find_champion("approvals") is None
    assert "was not approved by anybody within 0.001 hours; there is no champion" in result.promotion
