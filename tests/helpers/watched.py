"""The command in a process and homes of its own, to be watched, interrupted and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import psutil

from helpers.waiting import wait_until
from triptych.tracking.tags import read_tags

# A comparison of one panel that trains for ever.
ENDLESS = ("compare", "--panel", "numpy-mlp", "--set", "numpy_mlp.epochs=1000000")


class Command:
    """The command in a process and homes of its own, with Prefect's temporary server."""

    def __init__(self, home: Path, *arguments: str, cache: str = "cache") -> None:
        """Start it.

        Args:
            home: folder of its store and its cache; the folder above holds Prefect's database, which takes ten seconds
                to create.
            arguments: of the command.
            cache: name of its cache.
        """
        homes = {"PREFECT_HOME": home.parent / "prefect", "TRIPTYCH_CACHE_HOME": home / cache}
        environment = os.environ | {name: str(folder) for name, folder in homes.items()}
        environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{home / 'mlflow.db'}"
        self.store = home / "mlflow.db"
        # Under nohup, which the tests may run under, a program would ignore that its terminal is closed.
        hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self.process = subprocess.Popen(
            [str(Path(sys.executable).with_name("triptych")), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        signal.signal(signal.SIGHUP, hangup)

    def runs(self) -> list[Any]:
        """Return all its runs."""
        if not self.store.exists():
            return []
        client = mlflow.MlflowClient(f"sqlite:///{self.store}")
        experiment = client.get_experiment_by_name("digits")
        return list(client.search_runs([experiment.experiment_id])) if experiment else []

    def wait_for_epochs(self) -> None:
        """Wait until it trains."""
        wait_until(lambda: any("val_loss" in run.data.metrics for run in self.runs()), "an epoch", process=self.process)

    def find_server(self) -> psutil.Process:
        """Return its temporary server."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if "triptych.commands.temporary_server" in child.cmdline())

    def statuses(self) -> dict[str, str]:
        """Return the status of its runs by their role."""
        return {read_tags(run)["role"]: run.info.status for run in self.runs()}

    def kill(self) -> None:
        """Kill it, without a chance to close anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
