"""Commands that are interrupted: every run that was open is closed. What only reports may die without that."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import mlflow
import pytest

from helpers.forks import ENDLESS, Forks, PrefectServer
from helpers.wholeness import Work
from triptych.tracking.tags import read_tags

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(600)]

ENDED = {"FAILED", "KILLED"}
# Prefect's server is one that the command starts.
TEMPORARY = {"PREFECT_API_URL": None}


def test_an_interrupt_closes_the_study_and_its_trials(forks: Forks, tmp_path: Path) -> None:
    command = forks.start(tmp_path, "tune", "numpy-mlp", "--trials", "2", *ENDLESS[3:])
    command.wait_for_epochs()
    command.send(signal.SIGINT)
    assert command.end(60) == 130
    assert "triptych: interrupted; open runs were closed" in command.printed
    assert set(command.statuses()) == {("study", "FAILED"), ("trial", "FAILED")}


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_closes_the_comparison_and_its_panels(ending: signal.Signals, forks: Forks, tmp_path: Path) -> None:
    command = forks.start(tmp_path, *ENDLESS)
    command.wait_for_epochs()
    command.send(ending)
    command.wait_for_end(60)
    assert {status for _, status in command.statuses()} <= ENDED


def test_a_second_interrupt_does_not_wait_for_a_server_that_hangs(forks: Forks, tmp_path: Path) -> None:
    command = forks.start(tmp_path, *ENDLESS, environment=TEMPORARY)
    command.wait_for_epochs()
    server = command.find_server()
    server.suspend()
    try:
        command.send(signal.SIGINT)
        with pytest.raises(AssertionError, match="nothing after 3 seconds"):
            command.wait_for_end(3)
        command.send(signal.SIGINT)
        command.wait_for_end(30)
    finally:
        server.kill()
    assert "interrupted twice" in command.printed
    assert {status for _, status in command.statuses()} <= ENDED


def test_training_goes_on_while_the_temporary_server_is_away(forks: Forks, tmp_path: Path) -> None:
    command = forks.start(tmp_path, *ENDLESS[:3], "--set", "numpy_mlp.epochs=300", environment=TEMPORARY)
    command.wait_for_epochs()
    command.find_server().kill()
    command.finish()
    assert {status for _, status in command.statuses()} == {"FINISHED"}
    [panel] = [run for run in command.runs() if read_tags(run)["role"] == "panel"]
    history = mlflow.MlflowClient(f"sqlite:///{command.store}").get_metric_history(panel.info.run_id, "val_loss")
    assert [point.step for point in history] == list(range(1, 301))


def test_a_prefect_server_that_is_restarted_changes_nothing(
    forks: Forks, prefect: PrefectServer, tmp_path: Path
) -> None:
    work = Work(("numpy-mlp",), ("numpy_mlp.epochs=300",))
    undisturbed = forks.start(tmp_path / "undisturbed", *work.arguments)
    undisturbed.finish()
    command = forks.start(tmp_path / "disturbed", *work.arguments)
    command.wait_for_epochs()
    prefect.kill()
    time.sleep(2)
    prefect.start()
    command.finish()
    work.check(command, like=undisturbed)
