"""Commands that are interrupted: every run that was open is closed. What only reports may die without that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import psutil
import pytest

from helpers.waiting import wait_until
from triptych.tracking.tags import read_tags

pytestmark = pytest.mark.endurance
COMPARE = ["compare", "--panel", "numpy-mlp"]
ENDLESS = ["--set", "numpy_mlp.epochs=1000000"]


class Command:
    """The command in a process and homes of its own, with Prefect's temporary server."""

    def __init__(self, home: Path, *arguments: str) -> None:
        """Start it; Prefect's database, which takes ten seconds to create, is that of all."""
        homes = {"PREFECT_HOME": home.parent / "prefect", "TRIPTYCH_CACHE_HOME": home / "cache"}
        environment = os.environ | {name: str(folder) for name, folder in homes.items()}
        environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{home / 'mlflow.db'}"
        self.store = home / "mlflow.db"
        self.process = subprocess.Popen(
            [str(Path(sys.executable).with_name("triptych")), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def runs(self) -> list[Any]:
        """Return all its runs."""
        if not self.store.exists():
            return []
        client = mlflow.MlflowClient(f"sqlite:///{self.store}")
        experiment = client.get_experiment_by_name("digits")
        return list(client.search_runs([experiment.experiment_id])) if experiment else []

    def wait_for_epochs(self) -> None:
        """Wait until it trains."""
        wait_until(lambda: any("val_loss" in run.data.metrics for run in self.runs()), "an epoch")

    def find_server(self) -> psutil.Process:
        """Return its temporary server."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if "triptych.commands.temporary_server" in child.cmdline())

    def statuses(self) -> dict[str, str]:
        """Return the status of its runs by their role."""
        return {read_tags(run)["role"]: run.info.status for run in self.runs()}


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Command]:
    """A comparison that trains, and goes on for ever."""
    command = Command(tmp_path, *COMPARE, *ENDLESS)
    command.wait_for_epochs()
    yield command
    command.process.kill()
    command.process.communicate()


def test_an_interrupt_closes_the_study_and_its_trials(tmp_path: Path) -> None:
    command = Command(tmp_path, "tune", "numpy-mlp", "--trials", "2", *ENDLESS)
    command.wait_for_epochs()
    command.process.send_signal(signal.SIGINT)
    _, printed = command.process.communicate(timeout=60)
    assert command.process.returncode == 130
    assert "triptych: interrupted; open runs were closed" in printed
    assert command.statuses() == {"study": "FAILED", "trial": "FAILED"}


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_closes_the_comparison_and_its_panels(ending: signal.Signals, endless: Command) -> None:
    endless.process.send_signal(ending)
    endless.process.communicate(timeout=60)
    assert set(endless.statuses().values()) <= {"FAILED", "KILLED"}


def test_a_second_interrupt_does_not_wait_for_a_server_that_hangs(endless: Command) -> None:
    server = endless.find_server()
    server.suspend()
    try:
        endless.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            endless.process.communicate(timeout=3)
        endless.process.send_signal(signal.SIGINT)
        _, printed = endless.process.communicate(timeout=10)
    finally:
        server.kill()
    assert endless.process.returncode == 130
    assert "interrupted twice" in printed
    assert set(endless.statuses().values()) <= {"FAILED", "KILLED"}


@pytest.mark.timeout(300)
def test_training_goes_on_while_the_temporary_server_is_away(tmp_path: Path) -> None:
    command = Command(tmp_path, *COMPARE, "--set", "numpy_mlp.epochs=300")
    command.wait_for_epochs()
    killed = command.find_server()
    killed.kill()
    printed, _ = command.process.communicate(timeout=200)
    assert command.process.returncode == 0, printed
    assert set(command.statuses().values()) == {"FINISHED"}
    [panel] = [run for run in command.runs() if read_tags(run)["role"] == "panel"]
    history = mlflow.MlflowClient(f"sqlite:///{command.store}").get_metric_history(panel.info.run_id, "val_loss")
    assert [point.step for point in history] == list(range(1, 301))
