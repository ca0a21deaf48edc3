"""A study that is killed in the middle of its trials ends as an undisturbed one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest

from helpers.waiting import wait_until
from helpers.watched import Command
from triptych.tracking.tags import read_tags

pytestmark = pytest.mark.endurance
STUDY = ("tune", "numpy-mlp", "--trials", "14", "--workers", "1", "--set", "numpy_mlp.epochs=80")
# The sampler draws at random for the first ten trials, and learns from what it sees afterwards.
KILLED_IN = (1, 11, 13)


def find_trials(command: Command) -> list[Any]:
    return [run for run in command.runs() if read_tags(run)["role"] == "trial"]


def wait_for_trials(command: Command, count: int) -> None:
    wait_until(lambda: len(find_trials(command)) >= count, f"trial {count}", process=command.process)


def read_trials(command: Command) -> list[dict[str, str]]:
    """Return the table of trials that the study ended with, without their numbers and durations."""
    [study] = [run for run in command.runs() if read_tags(run)["role"] == "study"]
    assert study.info.status == "FINISHED"
    client = mlflow.MlflowClient(f"sqlite:///{command.store}")
    file = client.download_artifacts(study.info.run_id, "trials.json", str(command.store.parent))
    rows = json.loads(Path(file).read_text(encoding="utf-8"))["trials"]
    return [{name: value for name, value in row.items() if name not in {"trial", "seconds"}} for row in rows]


@pytest.mark.timeout(600)
def test_a_study_that_is_killed_in_its_trials_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed = Command(tmp_path / "undisturbed", *STUDY)
    for number, trial in enumerate(KILLED_IN):
        killed = Command(tmp_path / "killed", *STUDY)
        wait_for_trials(killed, trial + number + 1)  # each kill has left one more
        killed.kill()
    last = Command(tmp_path / "killed", *STUDY)
    for command in (undisturbed, last):
        printed, _ = command.process.communicate(timeout=300)
        assert command.process.returncode == 0, printed
    assert read_trials(last) == read_trials(undisturbed)
    runs = last.runs()
    assert "RUNNING" not in {run.info.status for run in runs}
    # A kill that comes just between two trials leaves none.
    assert any(run.info.status == "KILLED" and "outcome" not in read_tags(run) for run in runs)
