"""Tasks on a real server: retries, and progress that cannot be sent."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from httpx import HTTPStatusError, Request, Response
from prefect import flow

from helpers.waiting import wait_until
from triptych.errors import DataError
from triptych.orchestration import progress, step
from triptych.orchestration.reports import ReportSender


def answer(status: int) -> HTTPStatusError:
    """What Prefect's client raises when its server answers so."""
    request = Request("POST", "http://127.0.0.1:4200/api")
    return HTTPStatusError("refused", request=request, response=Response(status, request=request))


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
    server_is_back = threading.Event()
    sent: list[float] = []

    def update(artifact: object, *, progress: float) -> None:
        del artifact
        sent.append(progress)
        server_is_back.wait()
        raise answer(503)

    reports = ReportSender()  # nothing of earlier tests is on its way
    monkeypatch.setattr(progress, "reports", reports)
    monkeypatch.setattr(progress, "update_progress_artifact", update)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_UPDATES", 0.0)

    @flow
    def work() -> str:
        with progress.reporting("work") as report:
            wait_until(reports.finish, "the artifact")
            report(1, 4)
            wait_until(lambda: bool(sent), "first report")
            for done in range(2, 5):
                report(done, 4)
        return "done"

    assert work() == "done"
    assert sent == [25.0], "the server has not answered yet"
    server_is_back.set()
    assert reports.finish()
    assert sent == [25.0, 100.0]
    assert "the progress on Prefect's server could not be updated" in caplog.text
