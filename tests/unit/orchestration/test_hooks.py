"""How flows and tasks use Prefect; without a server where that is possible."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import HTTPStatusError, ReadError, Request, Response
from prefect import flow
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings
from prefect.states import Failed
from prefect.task_engine import TaskRunTimeoutError

from triptych.errors import DataError, RemotePanelError, RestartLimitError
from triptych.orchestration import enforce_restart_limit, hooks, progress, require_all, step
from triptych.orchestration.options import may_succeed_again

FLOW_RUN = "5a3f7a0e-9d0b-4a52-9df1-6a0c8e5d1c11"


def answer(status: int) -> HTTPStatusError:
    """What Prefect's client raises when its server answers so."""
    request = Request("POST", "http://127.0.0.1:4200/api")
    return HTTPStatusError("refused", request=request, response=Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionResetError("cut"), True),
        (TimeoutError("the server was slow"), True),
        (TaskRunTimeoutError("the task's own limit"), False),
        (DataError("bad input"), False),
        (RemotePanelError("failed there"), False),
        (ReadError("cut"), True),
        (answer(503), True),
        (answer(404), False),
    ],
)
def test_only_errors_that_may_pass_are_retried(error: Exception, again: bool) -> None:  # noqa: FBT001
    assert may_succeed_again(None, None, Failed(data=error)) is again


@pytest.mark.usefixtures("prefect_server")
def test_a_task_is_retried_after_an_error_that_passes_and_not_after_one_that_stays() -> None:
    attempts: dict[str, int] = {"passing": 0, "staying": 0}

    @step("passing")
    def passing() -> str:
        attempts["passing"] += 1
        if attempts["passing"] < 3:
            raise ConnectionResetError("cut")
        return "done"

    @step("staying")
    def staying() -> None:
        attempts["staying"] += 1
        raise DataError("bad input")

    @flow
    def both() -> tuple[str, Any]:
        quick = passing.with_options(retry_delay_seconds=0), staying.with_options(retry_delay_seconds=0)
        return quick[0](), quick[1](return_state=True)

    done, state = both()
    assert done == "done"
    assert state.is_failed()
    assert attempts == {"passing": 3, "staying": 1}


@pytest.mark.usefixtures("prefect_server")
def test_work_continues_if_its_progress_cannot_be_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[float] = []

    def update(artifact: object, *, progress: float) -> None:
        del artifact
        sent.append(progress)
        raise answer(503)

    monkeypatch.setattr(progress, "update_progress_artifact", update)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_UPDATES", 0.0)

    @flow
    def work() -> str:
        report = progress.ProgressReporter("work")
        for done in range(1, 3):
            report(done, 2)
        return "done"

    assert work() == "done"
    assert sent == [50.0, 100.0]
    assert "the progress on Prefect's server could not be updated" in caplog.text


def test_a_flow_run_that_crashes_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for starts in range(1, hooks.MAX_STARTS + 1):
        monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", str(starts))
        enforce_restart_limit()
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", str(hooks.MAX_STARTS + 1))
    with pytest.raises(RestartLimitError, match="crashed 5 times: find the reason"):
        enforce_restart_limit()


@pytest.mark.parametrize(
    ("page", "tags"),
    [
        ("http://127.0.0.1:4200", {"prefect.flow_run_url": f"http://127.0.0.1:4200/runs/flow-run/{FLOW_RUN}"}),
        (None, {}),
    ],
)
def test_only_a_page_that_there_is_is_linked(page: str | None, tags: dict[str, str], monkeypatch: Any) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", FLOW_RUN)
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__NAME", "night")
    with temporary_settings({PREFECT_API_URL: None, PREFECT_UI_URL: page}):
        described = progress.describe_flow_run()
    assert described == {"prefect.flow_run_id": FLOW_RUN, "prefect.flow_run_name": "night", **tags}


def test_of_parts_that_all_fail_the_first_error_is_raised_as_it_is() -> None:
    errors = {"one": DataError("first"), "two": DataError("second")}
    with pytest.raises(DataError, match=r"^first$"):
        require_all(errors)
    assert require_all({"one": 1, "two": 2}) == [1, 2]
