"""Comparisons and studies that are killed while they train: continued, with the results of undisturbed ones."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import mlflow
import pytest

from helpers.forks import Command, Forks
from helpers.wholeness import Work, is_reported
from triptych.tracking.tags import read_tags

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(900)]

KILLS = 20
# The fastest number format is measured in each store anew, and two runs may choose differently: the exact one is set.
WORK = Work(
    ("numpy-mlp", "torch-mlp", "shufflenet_v2_x0_5"),
    ("numpy_mlp.epochs=60", "torch_mlp.epochs=60", "transfer.epochs=30", "transfer.precision=float32"),
)

STUDY_KILLS = 10
# The sampler draws at random for the first ten trials, and learns from what it sees afterwards.
STUDY = ("tune", "numpy-mlp", "--trials", "13", "--workers", "1", "--set", "numpy_mlp.epochs=30")


def was_open(command: Command, *roles: str) -> bool:
    """Return whether a command that was killed left an open run of each role."""
    return set(roles) <= {role for role, status in command.statuses() if status == "RUNNING"}


def test_killed_twenty_times_while_panels_train_it_ends_as_if_undisturbed(forks: Forks, tmp_path: Path) -> None:
    undisturbed = forks.start(tmp_path / "undisturbed", *WORK.arguments)
    undisturbed.finish()
    rng = random.Random(20)  # noqa: S311 - moments, not secrets
    kills, reported = 0, 0
    while kills < KILLS:
        command = forks.start(tmp_path / f"{reported}", *WORK.arguments)
        if command.trains():
            time.sleep(rng.uniform(0.0, 0.8))
        command.kill()
        kills += was_open(command, "comparison", "panel")
        if is_reported(command):  # what is left of the kills meets another one
            WORK.check(command, like=undisturbed)
            reported += 1
    last = forks.start(tmp_path / f"{reported}", *WORK.arguments)
    last.finish()
    WORK.check(last, like=undisturbed)


def read_trials(command: Command) -> list[dict[str, str]]:
    """Return the table of trials that the study ended with, without their numbers and durations."""
    [study] = [run for run in command.runs() if read_tags(run)["role"] == "study"]
    assert study.info.status == "FINISHED"
    client = mlflow.MlflowClient(f"sqlite:///{command.store}")
    file = client.download_artifacts(study.info.run_id, "trials.json", str(command.store.parent))
    rows = json.loads(Path(file).read_text(encoding="utf-8"))["trials"]
    return [{name: value for name, value in row.items() if name not in {"trial", "seconds"}} for row in rows]


def test_a_study_killed_ten_times_in_its_trials_ends_as_if_undisturbed(forks: Forks, tmp_path: Path) -> None:
    undisturbed = forks.start(tmp_path / "undisturbed", *STUDY)
    undisturbed.finish()
    rng = random.Random(10)  # noqa: S311 - moments, not secrets
    kills, finished, killed = 0, 0, 0
    while kills < STUDY_KILLS:
        command = forks.start(tmp_path / f"{finished}", *STUDY)
        if command.trains():
            time.sleep(rng.uniform(0.0, 0.8))  # a trial takes about a second
        command.kill()
        kills += was_open(command, "study", "trial")
        if ("study", "FINISHED") in command.statuses():  # what is left of the kills meets another one
            killed += count_killed(command, like=undisturbed)
            finished += 1
    last = forks.start(tmp_path / f"{finished}", *STUDY)
    last.finish()
    assert killed + count_killed(last, like=undisturbed) >= STUDY_KILLS


def count_killed(command: Command, like: Command) -> int:
    """Check that a study ended like another; return how many of its trials were killed."""
    assert read_trials(command) == read_trials(like)
    statuses = [status for role, status in command.statuses() if role == "trial"]
    assert "RUNNING" not in statuses
    return statuses.count("KILLED")
