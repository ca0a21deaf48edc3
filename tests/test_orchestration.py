"""What flows and tasks say to Prefect, without a server where it can be."""

from __future__ import annotations

from typing import Any

import pytest
from prefect import flow, task
from prefect.states import Failed
from prefect.task_engine import TaskRunTimeoutError

from triptych.errors import DataError, ElsewhereError, EndlessRestartError
from triptych.orchestration import STEP, ends, refuse_endless_restarts, require_all
from triptych.orchestration.steps import retry_if_passing


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionResetError("cut"), True),
        (TimeoutError("the server was slow"), True),
        (TaskRunTimeoutError("the task's own limit"), False),
        (DataError("bad input"), False),
        (ElsewhereError("failed there"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, again: bool) -> None:  # noqa: FBT001
    assert retry_if_passing(None, None, Failed(data=error)) is again


@pytest.mark.usefixtures("prefect_server")
def test_a_task_is_tried_again_after_a_fault_that_passes_and_not_after_one_that_stays() -> None:
    attempts: dict[str, int] = {"passing": 0, "staying": 0}
    quick = {**STEP, "retry_delay_seconds": 0}

    @task(**quick)
    def passing() -> str:
        attempts["passing"] += 1
        if attempts["passing"] < 3:
            raise ConnectionResetError("cut")
        return "done"

    @task(**quick)
    def staying() -> None:
        attempts["staying"] += 1
        raise DataError("bad input")

    @flow
    def both() -> tuple[str, Any]:
        return passing(), staying(return_state=True)

    done, state = both()
    assert done == "done"
    assert state.is_failed()
    assert attempts == {"passing": 3, "staying": 1}


def test_a_flow_run_that_crashes_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for starts in range(1, ends.MOST_STARTS + 1):
        monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", str(starts))
        refuse_endless_restarts()
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", str(ends.MOST_STARTS + 1))
    with pytest.raises(EndlessRestartError, match="was cut off 5 times: find out why"):
        refuse_endless_restarts()


def test_of_parts_that_all_fail_the_first_error_is_raised_as_it_is() -> None:
    errors = {"one": DataError("first"), "two": DataError("second")}
    with pytest.raises(DataError, match=r"^first$"):
        require_all(errors)
    assert require_all({"one": 1, "two": 2}) == [1, 2]
