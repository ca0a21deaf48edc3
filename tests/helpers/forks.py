"""Commands in forks, to be watched, suspended and killed, and the Prefect server that they report to."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import psutil

from helpers.fork_commands import ENDED, Job
from helpers.waiting import ask, free_port, wait_until

# A comparison of one panel that trains for ever.
ENDLESS = ("compare", "--panel", "numpy-mlp", "--set", "numpy_mlp.epochs=1000000")
SELECT_STATUSES = """
    SELECT value, status FROM runs JOIN tags ON runs.run_uuid = tags.run_uuid AND key = 'triptych.role'
"""


class PrefectServer:
    """Prefect's server, as a command starts its temporary one."""

    def __init__(self, home: Path) -> None:
        """Choose a port; the database is in a folder."""
        self.port = free_port()
        self.api = f"http://127.0.0.1:{self.port}/api"
        self._log = home / "prefect.log"
        own = {"PREFECT_HOME": str(home), "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
        self._environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"} | own

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "triptych.commands.temporary_server", str(self.port), str(os.getpid())]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        wait_until(lambda: ask(f"{self.api}/health") == 200, "Prefect", process=self.process, log=self._log)

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


class Command:
    """A command in a process of its own, on a local store or one whose server keeps it in a local file."""

    def __init__(self, pid: int, store: Path, log: Path) -> None:
        """Watch a process.

        Args:
            pid: its id.
            store: SQLite file of the store.
            log: what it prints.
        """
        self.pid = pid
        self.store = store
        self.log = log
        self._points = self.count_points()

    def poll(self) -> int | None:
        """Return None while it runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, without a chance to close anything."""
        if self.poll() is None:
            self.send(signal.SIGKILL)
        self.wait_for_end()

    def wait_until(self, ready: Any, what: str) -> Any:
        """Wait for something, which does not come any more once it has ended."""
        return wait_until(ready, what, process=self, log=self.log)

    def wait_for_epochs(self) -> None:
        """Wait until it trains."""
        self.wait_until(lambda: self.count_points() > self._points, "an epoch")

    def trains(self) -> bool:
        """Wait until it trains or has ended; return whether it trains."""
        wait_until(lambda: self.count_points() > self._points or self.poll() is not None, "an epoch", log=self.log)
        return self.poll() is None

    def wait_for_end(self, seconds: float = 300.0) -> None:
        """Wait until it has ended."""
        wait_until(lambda: self.poll() is not None, "the end of the command", seconds, log=self.log)

    def end(self, seconds: float = 300.0) -> int:
        """Wait until it has ended; return its exit code."""
        self.wait_for_end(seconds)
        # Not always at the start of a line: Prefect's last message may have no end.
        found = re.search(rf"{ENDED} (.*)$", self.printed, re.MULTILINE)
        assert found, self.printed
        return int(found[1])

    def finish(self) -> None:
        """Wait until it has done its work."""
        assert self.end() == 0, self.printed

    @property
    def printed(self) -> str:
        """What it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def count_points(self) -> int:
        """Return the number of points of a curve in its store."""
        return sum(count for (count,) in self.query("SELECT count(*) FROM metrics WHERE key = 'train_loss'"))

    def statuses(self) -> list[tuple[str, str]]:
        """Return the role and the status of each run in its store."""
        return self.query(SELECT_STATUSES)

    def query(self, statement: str) -> list[Any]:
        """Ask the database of its store; there is no answer while that is created."""
        if not self.store.exists():
            return []
        with closing(sqlite3.connect(self.store, timeout=60)) as database:
            try:
                return database.execute(statement).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error):
                    raise
                return []

    def runs(self, board: str = "digits") -> list[Any]:
        """Return all runs of a board in its store."""
        if not self.store.exists():
            return []
        client = mlflow.MlflowClient(f"sqlite:///{self.store}")
        experiment = client.get_experiment_by_name(board)
        return list(client.search_runs([experiment.experiment_id])) if experiment else []

    def find_server(self) -> psutil.Process:
        """Return its temporary server."""
        children = psutil.Process(self.pid).children()
        return next(child for child in children if "triptych.commands.temporary_server" in child.cmdline())


class Forks:
    """A process that has imported everything, and forks."""

    def __init__(self, folder: Path, prefect: PrefectServer, empty_store: Path) -> None:
        """Start it.

        Args:
            folder: has its log, and the home of temporary servers.
            prefect: the server that commands report to.
            empty_store: to be copied for commands that have none, as creating one takes seconds.
        """
        self._log = folder / "forks.log"
        self._empty_store = empty_store
        environment = os.environ | {"PREFECT_API_URL": prefect.api, "PREFECT_HOME": str(folder / "prefect")}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "helpers.fork_commands"],
                env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def start(
        self,
        home: Path,
        *arguments: str,
        store: Path | None = None,
        cache: str = "cache",
        environment: Mapping[str, str | None] | None = None,
        constants: dict[str, float] | None = None,
        machine: str = "",
    ) -> Command:
        """Start a command.

        Args:
            home: folder of its store, its cache and its log.
            arguments: of the command line.
            store: SQLite file of its store; by default one in the home, which is empty at first.
            cache: name of its cache.
            environment: more of its variables; None for those that it does not have.
            constants: constants of modules that have other values there.
            machine: name of the machine that it pretends to be on.
        """
        home.mkdir(parents=True, exist_ok=True)
        own_store = store or home / "mlflow.db"
        if store is None and not own_store.exists():
            shutil.copy(self._empty_store, own_store)
        log = home / f"{len(list(home.glob('*.log'))) + 1}.log"
        own = {"MLFLOW_TRACKING_URI": f"sqlite:///{own_store}", "TRIPTYCH_CACHE_HOME": str(home / cache)}
        job = Job([*arguments], str(log), {**own, **(environment or {})}, constants or {}, machine)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asdict(job)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self._log.read_text(encoding="utf-8")
        return Command(int(answer), own_store, log)

    def stop(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
