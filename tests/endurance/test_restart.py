"""Comparisons that are cut off at any moment: taken up again, with one run for each panel and the same weights."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from helpers.epochs import count_epochs
from triptych.config.resolve import resolve_config
from triptych.tracking.tags import read_tags

KILLS = 20
# The fastest number format is measured in each store anew, and two runs may choose differently: the exact one is set.
SETTINGS = ("numpy_mlp.epochs=30", "torch_mlp.epochs=30", "transfer.epochs=10", "transfer.precision=float32")
EPOCHS = count_epochs(resolve_config("digits", settings=SETTINGS).boards[0])
CURVES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "epoch_seconds")


def compare_in(home: Path, store: str, panels: list[str], settings: list[str]) -> None:
    """Compare the digits in a process of its own, with a cache of its own."""
    os.setpgrp()
    os.environ.update(MLFLOW_TRACKING_URI=store, TRIPTYCH_CACHE_HOME=str(home))
    from flows.compare import compare

    compare(resolve_config("digits", panels=panels, settings=settings))


@pytest.fixture(scope="module")
def start(prefect_server: None) -> Iterator[Callable[..., Any]]:
    """The function that starts such a process. Forks of one that has imported everything start at once."""
    del prefect_server
    from prefect.settings import get_current_settings

    # Prefect reads its settings when it is imported, which the forked processes have done.
    patch = pytest.MonkeyPatch()
    for name, value in get_current_settings().to_environment_variables(exclude_unset=True).items():
        patch.setenv(name, value)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flows.compare", "torch", "torchvision.models", "triptych.evaluation.page"])

    def start_one(home: Path, store: str = "", panels: Sequence[str] = (), settings: Sequence[str] = SETTINGS) -> Any:
        home.mkdir(exist_ok=True)
        store = store or f"sqlite:///{home / 'mlflow.db'}"
        process = context.Process(target=compare_in, args=(home, store, list(panels), list(settings)))
        process.start()
        return process

    yield start_one
    patch.undo()


def find_runs(home: Path) -> list[Any]:
    return search(mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}"))


def search(client: mlflow.MlflowClient) -> list[Any]:
    experiment = client.get_experiment_by_name("digits")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def load_weights(home: Path, panel: str) -> bytes:
    [run] = [run for run in find_runs(home) if read_tags(run).get("panel") == panel]
    # What a killed process left of a model is deleted, but stays among the run's outputs.
    folder = next((home / "artifacts" / "digits").rglob(read_tags(run)["model_uri"].rpartition("/")[2]))
    files = sorted((folder / "artifacts" / "data").rglob("*"))
    weights = [file for file in files if file.name in {"weights.npz", "weights.safetensors", "head.safetensors"}]
    assert weights
    arrays = np.load(weights[0]) if weights[0].suffix == ".npz" else None
    if arrays is not None:  # the archive notes when it was written
        return b"".join(arrays[name].tobytes() for name in sorted(arrays.files))
    return b"".join(file.read_bytes() for file in weights)


@pytest.mark.endurance
@pytest.mark.timeout(1200)
def test_killed_at_twenty_random_moments_it_ends_as_if_undisturbed(start: Callable[..., Any], tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    began = time.monotonic()
    process = start(undisturbed)
    process.join()
    seconds = time.monotonic() - began
    assert process.exitcode == 0
    rng = random.Random(20)  # noqa: S311 - moments, not secrets
    killed, homes = 0, [disturbed]
    while killed < KILLS:
        if is_reported(homes[-1]):  # at its end: what is left of the kills meets another one
            homes.append(tmp_path / f"disturbed-{len(homes)}")
        process = start(homes[-1])
        process.join(rng.uniform(0.05, 0.7) * seconds)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
    if not is_reported(homes[-1]):
        process = start(homes[-1])
        process.join()
        assert process.exitcode == 0
    for home in homes:
        check_whole(home, undisturbed)


def is_reported(home: Path) -> bool:
    return (home / "mlflow.db").is_file() and any("reported" in read_tags(run) for run in find_runs(home))


def check_whole(home: Path, undisturbed: Path) -> None:
    runs = find_runs(home)
    assert sorted(read_tags(run).get("panel", "comparison") for run in runs) == sorted([*EPOCHS, "comparison"])
    assert {run.info.status for run in runs} == {"FINISHED"}
    client = mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    for run in runs:
        panel = read_tags(run).get("panel", "")
        for name in CURVES if panel else ():
            steps = [point.step for point in client.get_metric_history(run.info.run_id, name)]
            assert steps == list(range(1, EPOCHS[panel] + 1)), (panel, name)
        for name in run.data.metrics:
            steps = [point.step for point in client.get_metric_history(run.info.run_id, name)]
            assert len(steps) == len(set(steps)), (panel, name)
        if panel:
            assert load_weights(home, panel) == load_weights(undisturbed, panel), panel


class Server:
    """MLflow's own server on a free port, that can be stopped and started again."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        store = ["--backend-store-uri", f"sqlite:///{self._home / 'served.db'}", "--workers", "1"]
        artifacts = ["--artifacts-destination", str(self._home / "artifacts")]
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        command = [sys.executable, "-m", "mlflow", "server", *store, *artifacts, *where]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self._home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.address}/health").close()  # noqa: S310 - an address on this machine
            except OSError:
                time.sleep(0.1)
            else:
                return
        pytest.fail("the server did not come up in a minute")

    def stop(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.mark.endurance
@pytest.mark.timeout(400)
def test_half_a_minute_without_the_tracking_server_loses_nothing(start: Callable[..., Any], tmp_path: Path) -> None:
    epochs = 800
    server = Server(tmp_path)
    server.start()
    try:
        process = start(tmp_path, server.address, ["numpy-mlp"], [f"numpy_mlp.epochs={epochs}"])
        client = mlflow.MlflowClient(server.address)
        while not (runs := [run for run in search(client) if "train_loss" in run.data.metrics]):
            assert process.is_alive()
            time.sleep(0.1)
        server.stop()
        time.sleep(30)
        server.start()
        reached = client.get_metric_history(runs[0].info.run_id, "train_loss")
        assert len(reached) < epochs, "it was over before the server was stopped"
        process.join()
        assert process.exitcode == 0
        assert {run.info.status for run in search(client)} == {"FINISHED"}
        for name in CURVES:
            steps = [point.step for point in client.get_metric_history(runs[0].info.run_id, name)]
            assert steps == list(range(1, epochs + 1)), name
    finally:
        server.stop()
