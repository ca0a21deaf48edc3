"""The tracking store: which one, how it is reached, and where its pages are."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException

from triptych.errors import ConfigError
from triptych.system.files import replace_atomically
from triptych.system.paths import local_store

PORTS = {"http": 80, "https": 443}
CONNECTION_SECONDS = 5.0


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, or the sqlite file of the local store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri()


def local_uri() -> str:
    """Return the sqlite file of the local store."""
    return f"sqlite:///{local_store() / 'mlflow.db'}"


def connect() -> mlflow.MlflowClient:
    """Return a client of the tracking store; an sqlite file is created when first used."""
    create_store(tracking_uri())
    check_server(tracking_uri())
    if mlflow.get_tracking_uri() != tracking_uri():
        mlflow.set_tracking_uri(tracking_uri())
    return mlflow.MlflowClient()


@cache
def check_server(uri: str) -> None:
    """Look once whether a tracking server answers: whoever mistypes its address shall not wait for minutes.

    From then on MLflow's own attempts bridge some four minutes without it.

    Raises:
        ConfigError: nothing listens at the address.
    """
    parts = urlsplit(uri)
    if parts.scheme in PORTS and parts.hostname:
        try:
            address = (parts.hostname, parts.port or PORTS[parts.scheme])
            socket.create_connection(address, timeout=CONNECTION_SECONDS).close()
        except OSError as error:
            raise ConfigError(f"no tracking server answers at MLFLOW_TRACKING_URI={uri} ({error}): start it") from error


def create_store(uri: str) -> None:
    """Create an sqlite file with all its tables, whole or not at all.

    MLflow takes seconds for it, and a store that was cut off meanwhile could never be opened again.
    """
    scheme, _, name = uri.partition(":///")
    file = Path(name)
    if scheme != "sqlite" or file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        if not file.exists():
            with replace_atomically(file) as partial:
                mlflow.MlflowClient(f"sqlite:///{partial}").search_experiments()


def find_or_create_experiment(client: mlflow.MlflowClient, name: str) -> str:
    """Return the id of the experiment of a board, restored where it had been deleted."""
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
    """Return a folder beside an sqlite store; a server knows its own place.

    Left to itself, MLflow would freeze a place that depends on the working directory.
    """
    scheme, _, file = tracking_uri().partition(":///")
    return (Path(file).resolve().parent / "artifacts" / name).as_uri() if scheme == "sqlite" else None


def list_artifacts(run_id: str, folder: str | None = None) -> list[str]:
    """Return the paths of all files of a run, folder by folder."""
    names: list[str] = []
    for entry in connect().list_artifacts(run_id, folder):
        names += list_artifacts(run_id, entry.path) if entry.is_dir else [entry.path]
    return names
