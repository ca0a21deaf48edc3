from __future__ import annotations

import pytest
from httpx import HTTPStatusError, ReadError, Request, Response
from prefect.states import Failed
from prefect.task_engine import TaskRunTimeoutError

from triptych.errors import DataError, RemotePanelError
from triptych.orchestration.options import may_succeed_again


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
