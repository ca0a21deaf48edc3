from __future__ import annotations

from pathlib import Path

import pytest

from helpers.commands import run


@pytest.mark.parametrize(
    ("uri", "code", "message"),
    [
        ("http://127.0.0.1:1", 2, "is no SQLite file: only those can be moved"),
        ("sqlite:////nowhere/mlflow.db", 2, "there is no store /nowhere/mlflow.db"),
    ],
)
def test_only_a_file_can_be_moved(uri: str, code: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    done = run("store", "move")
    assert done.returncode == code
    assert message in done.stderr


def test_addresses_are_printed_as_they_are_replaced(own_store: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    gone = (tmp_path / "gone" / "artifacts" / "board").as_uri()
    MlflowClient(own_store).create_experiment("board", artifact_location=gone)
    assert run("show").returncode == 2
    from triptych.commands import store

    assert store.MOVE_EXAMPLES
    assert run("store", "move").returncode == 0
    assert run("show").returncode == 0
