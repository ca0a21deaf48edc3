"""A tracking server that keeps its artifacts in an S3-compatible store, as docs/servers.md says; users need no keys."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from helpers.comparisons import record_comparison
from helpers.waiting import ask, free_port, wait_until
from triptych.data.boards import load_board
from triptych.networks.saved import load_model
from triptych.tracking.registry.champions import challenge
from triptych.tracking.registry.fetching import fetch_model
from triptych.tracking.registry.loading import load_version
from triptych.tracking.registry.versions import find_version

BUCKET, FOLDER = "models-of-the-team", "nights"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def store() -> Iterator[str]:
    """The address of an S3-compatible store with an empty bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    connect_to(address).create_bucket(Bucket=BUCKET)
    yield address
    server.stop()


def connect_to(address: str):  # type: ignore[no-untyped-def]  # noqa: ANN201 - boto3 makes its types as it runs
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name=KEYS["AWS_DEFAULT_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture
def tracking(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of MLflow's server in front of the store, which is the one that is used."""
    port = free_port()
    destination = f"s3://{BUCKET}/{FOLDER}"
    database = f"sqlite:///{tmp_path / 'mlflow.db'}"
    command = ["-m", "mlflow", "server", "--backend-store-uri", database, "--artifacts-destination", destination]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = os.environ | KEYS | {"MLFLOW_S3_ENDPOINT_URL": store, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: ask(f"{address}/health") == 200, "MLflow's server")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        yield address
        process.terminate()


@pytest.mark.usefixtures("tracking")
def test_a_model_goes_to_the_store_and_comes_back(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = record_comparison(tmp_path / "trained")
    assert challenge(recorded.comparison.prepared, recorded.panel).state == "new"
    stored = [found["Key"] for found in connect_to(store).list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert any(key.startswith(FOLDER) and key.endswith("model/weights.npz") for key in stored)
    assert any(key.endswith("report.html") for key in stored)
    folder = fetch_model("digits", tmp_path / "fetched")
    images = load_board(recorded.comparison.prepared).pixels[recorded.fitted.reference.indices]
    probabilities = load_model(folder / "data" / "model").predict(images)
    np.testing.assert_allclose(probabilities, recorded.fitted.reference.probabilities, rtol=0, atol=1e-6)
    # A server loads each champion, and leaves none of them behind.
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    loaded = load_version(find_version("digits")).network.predict_images(images)
    np.testing.assert_allclose(loaded, probabilities, rtol=0, atol=1e-6)
    assert list((tmp_path / "temporary").iterdir()) == []
