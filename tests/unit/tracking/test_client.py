from __future__ import annotations

from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from requests.exceptions import Timeout
from sqlalchemy.exc import OperationalError

from helpers.waiting import free_port
from triptych.errors import ConfigError
from triptych.tracking.client import connect, find_or_create_experiment, is_transient


def test_an_address_without_a_server_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(ConfigError, match=f"no tracking server answers at MLFLOW_TRACKING_URI={address}"):
        connect()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.replace("//", "//ann:secret@"))
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "ann's own")
    with pytest.raises(ConfigError, match=f"no tracking server answers at MLFLOW_TRACKING_URI={address}"):
        connect()


def test_a_deleted_experiment_is_restored(own_store: str) -> None:
    client = connect()
    experiment = find_or_create_experiment(client, "board")
    client.delete_experiment(experiment)
    assert find_or_create_experiment(client, "board") == experiment
    found = client.get_experiment(experiment)
    assert found.lifecycle_stage == "active"
    folder = Path(own_store.removeprefix("sqlite:///")).parent
    assert found.artifact_location == (folder / "artifacts" / "board").as_uri()


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (Timeout(), True),
        (MlflowException("busy", TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("no such metric", INVALID_PARAMETER_VALUE), False),
        (OperationalError("INSERT", {}, Exception("database is locked")), True),
        (OperationalError("INSERT", {}, Exception("database or disk is full")), False),
        (KeyError("name"), False),
    ],
)
def test_only_errors_that_pass_are_transient(error: Exception, transient: bool) -> None:  # noqa: FBT001
    assert is_transient(error) is transient
    outer = RuntimeError("the step failed")
    outer.__cause__ = error
    assert is_transient(outer) is transient
