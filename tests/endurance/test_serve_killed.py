"""`make serve` whose programs are killed, and another user of the machine, who gets nothing from it."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from helpers.serving import ROOT, make_environment, serve
from helpers.waiting import ask, wait_until

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(900)]

# What another user would try: to read the password and the environment of the servers, and to ask without it.
TRY = """
import glob, os, sys, urllib.request
home, prefect, mlflow, *pids = sys.argv[1:]
for file in (f"{home}/password", f"{home}/env", *(f"/proc/{pid}/environ" for pid in pids)):
    try:
        open(file).read()
        print("read", file)
    except PermissionError:
        pass
for address in (f"{prefect}/api/flows/filter", f"{mlflow}/api/2.0/mlflow/experiments/search"):
    try:
        body = b'{"max_results": 1}'
        urllib.request.urlopen(urllib.request.Request(address, body, {"Content-Type": "application/json"}))
        print("answered", address)
    except urllib.error.HTTPError as error:
        assert error.code in {401, 403}, error
print("tried as", os.getuid())
"""


class Served:
    """What `make serve` starts, in a folder that other users may enter."""

    def __init__(self, folder: Path) -> None:
        self.environment = make_environment(folder)
        self.home = Path(self.environment["SERVE_HOME"])
        self.stores = (folder / "mlflow.db", self.home / "prefect" / "prefect.db")
        self.ports = {name: int(self.environment[f"{name.upper()}_PORT"]) for name in ("prefect", "mlflow")}

    def start(self) -> None:
        done = serve("start", self.environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Prefect "), done.stdout
        for name, page in (("prefect", "api/health"), ("mlflow", "health")):
            assert ask(f"http://127.0.0.1:{self.ports[name]}/{page}") == 200

    def stop(self) -> None:
        """Stop it, and check that nothing is left."""
        done = serve("stop", self.environment)
        assert done.returncode == 0, done.stderr
        assert not self.processes()
        assert not list(self.home.glob("*.pid"))
        for port in self.ports.values():
            assert ask(f"http://127.0.0.1:{port}/") == 0
        for store in self.stores:
            with closing(sqlite3.connect(store)) as database:
                assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def processes(self) -> list[psutil.Process]:
        """Return all processes that it has started."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("SERVE_HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue  # gone
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]

    def pid(self, name: str) -> int:
        return int((self.home / f"{name}.pid").read_text().split()[0])


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    folder = Path(tempfile.mkdtemp(prefix="served-"))
    folder.chmod(0o755)
    served = Served(folder)
    yield served
    serve("stop", served.environment)
    shutil.rmtree(folder)


def test_another_user_of_the_machine_gets_nothing(served: Served) -> None:
    served.start()
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to become another user")
    pids = [str(process.pid) for process in served.processes()]
    assert len(pids) >= 3
    addresses = [f"http://127.0.0.1:{port}" for port in served.ports.values()]
    # Its own interpreter may lie where other users cannot go.
    python = next(file for file in ("/usr/bin/python3", shutil.which("python3")) if file and Path(file).exists())
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python, "-c", TRY]
    done = subprocess.run(
        [*command, str(served.home), *addresses, *pids], cwd="/", env={}, check=False, capture_output=True, text=True
    )
    if "ermission denied" in done.stderr and not done.stdout:
        pytest.skip(f"another user cannot run {python}")
    assert (done.stdout, done.returncode) == ("tried as 65534\n", 0), done.stderr


@pytest.mark.parametrize("killed", ["prefect", "mlflow", "worker", "all"])
def test_after_a_kill_both_commands_work_again(killed: str, served: Served) -> None:
    if not served.processes():
        served.start()
    if killed == "all":
        for process in served.processes():
            process.kill()
    else:
        os.kill(served.pid(killed), signal.SIGKILL)
    if killed in {"worker", "all"}:
        served.stop()
    else:
        served.start()


def test_after_a_kill_of_the_script_both_commands_work_again(served: Served) -> None:
    if served.processes():
        served.stop()
    script = subprocess.Popen(
        [ROOT / "mlflow" / "serve.sh", "start"], env=served.environment, stdout=subprocess.DEVNULL
    )
    wait_until((served.home / "mlflow.pid").exists, "MLflow", process=script)
    script.kill()
    script.wait()
    served.start()
    served.stop()
