"""Commands that are interrupted: every run that was open is closed. What only reports may die without that."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from helpers.watched import ENDLESS, Command
from triptych.tracking.tags import read_tags

pytestmark = pytest.mark.endurance


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Command]:
    """A comparison that trains, and goes on for ever."""
    command = Command(tmp_path, *ENDLESS)
    command.wait_for_epochs()
    yield command
    command.kill()


def test_an_interrupt_closes_the_study_and_its_trials(tmp_path: Path) -> None:
    command = Command(tmp_path, "tune", "numpy-mlp", "--trials", "2", *ENDLESS[3:])
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
    command = Command(tmp_path, *ENDLESS[:3], "--set", "numpy_mlp.epochs=300")
    command.wait_for_epochs()
    killed = command.find_server()
    killed.kill()
    printed, _ = command.process.communicate(timeout=200)
    assert command.process.returncode == 0, printed
    assert set(command.statuses().values()) == {"FINISHED"}
    [panel] = [run for run in command.runs() if read_tags(run)["role"] == "panel"]
    history = mlflow.MlflowClient(f"sqlite:///{command.store}").get_metric_history(panel.info.run_id, "val_loss")
    assert [point.step for point in history] == list(range(1, 301))
