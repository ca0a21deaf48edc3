from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from flask import Flask, Response

from triptych.origins import authenticate

OWN = "http://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("origin", "refused"),
    [
        (None, False),
        (OWN, False),
        ("http://localhost:5000", False),
        ("http://127.0.0.1:8000", True),
        ("https://127.0.0.1:5000", True),
        ("null", True),
    ],
)
def test_only_its_own_pages_and_programs_may_ask(
    origin: str | None,
    refused: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", f"{OWN},http://localhost:5000")
    # MLflow's own check of the password, whose import takes seconds; test_serve.py has the real server.
    checked = SimpleNamespace(authenticate_request_basic_auth=lambda: "ann")
    monkeypatch.setitem(sys.modules, "mlflow.server.auth", checked)
    with Flask(__name__).test_request_context(headers={"Origin": origin} if origin else {}):
        answer = authenticate()
    assert answer.status_code == 403 if isinstance(answer, Response) else answer == "ann"
    assert isinstance(answer, Response) is refused
