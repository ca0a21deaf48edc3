"""A tracking server that is away, slow, or fails at times: the comparison is that of an undisturbed night."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.faulty_proxy import FAULTS, FaultyProxy, faulty_proxy
from helpers.forks import Command, Forks
from helpers.waiting import ask, free_port, wait_until
from helpers.wholeness import Work

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(600)]

WORK = Work(("numpy-mlp", "logistic-regression"), ("numpy_mlp.epochs=20",))
SECONDS_AWAY = 20
MARKS = {
    "500": [pytest.mark.long],
    # No run and no version is doubled, but MLflow's own call that connects a model to its run fails when repeated.
    "lost": [pytest.mark.long, pytest.mark.xfail(reason="a panel fails if the answer to MLflow's log_outputs is lost")],
}
# MLflow's client waits two seconds and more before it asks again.
HASTY = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0"}


class Server:
    """MLflow's own server, that can be stopped and started again."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.store = home / "served.db"
        self._home = home
        self._log = home / "server.log"

    def start(self) -> None:
        store = ["--backend-store-uri", f"sqlite:///{self.store}", "--workers", "1"]
        artifacts = ["--artifacts-destination", str(self._home / "artifacts")]
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        command = [sys.executable, "-m", "mlflow", "server", *store, *artifacts, *where]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: ask(f"{self.address}/health") == 200, "MLflow", process=self._process, log=self._log)

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def proxy(server: Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(server.address) as started:
        yield started


@pytest.fixture(scope="module")
def undisturbed(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Command:
    command = forks.start(tmp_path_factory.mktemp("undisturbed"), *WORK.arguments)
    command.finish()
    return command


@pytest.mark.parametrize("fault", [pytest.param(fault, marks=MARKS.get(fault, [])) for fault in FAULTS])
def test_a_server_that_fails_at_times_gets_everything_once(
    fault: str, proxy: FaultyProxy, server: Server, undisturbed: Command, forks: Forks, tmp_path: Path
) -> None:
    proxy.fault, proxy.met = fault, 0
    # Another split would have other weights; another name is another board.
    environment = {"MLFLOW_TRACKING_URI": proxy.address, **HASTY}
    arguments = [*WORK.arguments, "--set", f"name=digits-{fault}"]
    command = forks.start(tmp_path, *arguments, store=server.store, environment=environment)
    command.finish()
    assert proxy.met > 10
    WORK.check(command, board=f"digits-{fault}", like=undisturbed)
    here = "SELECT name, count(*) FROM model_versions WHERE current_stage != 'Deleted_Internal' GROUP BY name"
    versions = dict(command.query(here))
    assert {versions[f"digits-{fault}-{panel}"] for panel in WORK.panels} == {1}


@pytest.mark.long
def test_some_time_without_the_server_loses_nothing(server: Server, forks: Forks, tmp_path: Path) -> None:
    work = Work(("numpy-mlp",), ("numpy_mlp.epochs=400",))
    environment = {"MLFLOW_TRACKING_URI": server.address}
    arguments = [*work.arguments, "--set", "name=digits-away"]
    command = forks.start(tmp_path, *arguments, store=server.store, environment=environment)
    command.wait_for_epochs()
    server.stop()
    time.sleep(SECONDS_AWAY)
    server.start()
    assert command.count_points() < 400, "it was over before the server was stopped"
    command.finish()
    work.check(command, board="digits-away")
