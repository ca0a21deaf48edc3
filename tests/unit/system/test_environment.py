from __future__ import annotations

import os

import pytest

from triptych.system.environment import DEFAULTS, QUIET_TERMINAL, apply_environment


@pytest.fixture(autouse=True)
def _restored_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*DEFAULTS, *QUIET_TERMINAL, "MLFLOW_RUN_ID"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)


def test_the_users_own_values_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "svg")
    apply_environment(quiet=False)
    assert os.environ["MPLBACKEND"] == "svg"
    assert os.environ["DO_NOT_TRACK"] == "true"
    assert not QUIET_TERMINAL.keys() & os.environ.keys()
    apply_environment(quiet=True)
    assert os.environ["MLFLOW_LOGGING_LEVEL"] == "ERROR"


def test_a_run_that_was_inherited_is_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "of another program")
    apply_environment(quiet=False)
    assert "MLFLOW_RUN_ID" not in os.environ
