"""The tracking store: which one it is, how it is reached, and which of its errors may pass."""

from __future__ import annotations

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import REQUEST_LIMIT_EXCEEDED, TEMPORARILY_UNAVAILABLE, ErrorCode
from requests.exceptions import ConnectionError as RequestConnectionError
from requests.exceptions import Timeout
from sqlalchemy.exc import OperationalError

from triptych.system.addresses import check_tracking, tracking_uri
from triptych.system.files import FULL
from triptych.tracking.store import artifact_home, check_store, is_sqlite

# A tracking server that is down, a store that is locked, a connection that is cut.
TRANSIENT = (ConnectionError, TimeoutError, RequestConnectionError, Timeout, OperationalError)
TRANSIENT_CODES = {ErrorCode.Name(code) for code in (TEMPORARILY_UNAVAILABLE, REQUEST_LIMIT_EXCEEDED)}


def connect() -> mlflow.MlflowClient:
    """Return a client of the tracking store; an SQLite file is created on first use.

    Raises:
        ConfigError: nothing answers at the address, or the store cannot be used.
    """
    uri = tracking_uri()
    check_tracking(uri)
    check_store(uri)
    if mlflow.get_tracking_uri() != uri:
        mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient()


def list_store_modules() -> list[str]:
    """Return the modules that MLflow imports when it first uses the store, where that takes seconds."""
    return [] if tracking_uri().startswith("http") else ["mlflow.store.tracking.sqlalchemy_store"]


def find_or_create_experiment(client: mlflow.MlflowClient, name: str) -> str:
    """Return the id of the experiment of a board; create it, or restore it if it was deleted."""
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if found is not None:
        return str(found.experiment_id)
    try:
        return client.create_experiment(name, artifact_location=_choose_artifact_location(name))
    except MlflowException:
        again = client.get_experiment_by_name(name)
        if again is None:
            raise
        return str(again.experiment_id)


def _choose_artifact_location(name: str) -> str | None:
    """Return a folder beside an SQLite store; None for a server, which has its own place for artifacts.

    MLflow's default for SQLite would depend on the working directory of the first run.
    """
    uri = tracking_uri()
    return (artifact_home(uri) / name).as_uri() if is_sqlite(uri) else None


def is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed: the error, or one that caused it, is of a kind that passes.

    >>> is_transient(ConnectionResetError()), is_transient(ValueError("bad input"))
    (True, False)
    """
    cause: BaseException | None = error
    while cause is not None:
        if FULL in str(cause):
            return False
        if isinstance(cause, TRANSIENT) or (isinstance(cause, MlflowException) and cause.error_code in TRANSIENT_CODES):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def list_artifacts(run_id: str, folder: str | None = None) -> list[str]:
    """Return the paths of all files of a run, folder by folder."""
    names: list[str] = []
    for entry in connect().list_artifacts(run_id, folder):
        names += list_artifacts(run_id, entry.path) if entry.is_dir else [entry.path]
    return names
