from __future__ import annotations

import json
import logging
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage

from helpers.damages import DAMAGES
from triptych.errors import DamagedFileError, StorageError
from triptych.tuning.journal import CHECKSUM, CheckedJournal


def open_study(file: Path) -> optuna.Study:
    return optuna.create_study(study_name="study", storage=JournalStorage(CheckedJournal(file)), load_if_exists=True)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """The file of a study with four trials."""
    study = open_study(tmp_path / "studies" / "study.journal")
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    study.optimize(lambda trial: trial.suggest_float("rate", 0.0, 1.0), n_trials=4)
    study.set_user_attr("counted", {1: "one"})
    return tmp_path / "studies" / "study.journal"


def list_values(file: Path) -> list[float | None]:
    return [trial.value for trial in open_study(file).trials]


@pytest.mark.parametrize("damage", ["flip", "other version", "folder"])
def test_a_damaged_study_is_named(damage: str, journal: Path) -> None:
    assert len(list_values(journal)) == 4
    DAMAGES[damage](journal)
    message = r"study\.journal is damaged \(.+\): restore it, or delete it and run its trials again"
    with pytest.raises(DamagedFileError, match=message):
        list_values(journal)


def test_a_value_that_was_edited_is_named(journal: Path) -> None:
    lines = journal.read_text().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if '"values"' in line)
    edited = json.loads(lines[number]) | {"values": [0.0]}
    journal.write_text("".join([*lines[:number], json.dumps(edited) + "\n", *lines[number + 1 :]]))
    with pytest.raises(DamagedFileError, match=f"the checksum of line {number + 1} is wrong"):
        list_values(journal)


def test_half_a_line_is_cut_off_and_its_trial_run_again(journal: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = list_values(journal)
    DAMAGES["cut"](journal)
    with caplog.at_level(logging.WARNING):
        values = list_values(journal)
    assert "study.journal ends within a line" in caplog.text
    assert len(values) < 4
    done = [value for value in values if value is not None]
    assert done == expected[: len(done)]
    open_study(journal).optimize(lambda trial: trial.suggest_float("rate", 0.0, 1.0), n_trials=1)
    assert len(list_values(journal)) == len(values) + 1


def test_an_empty_file_is_a_new_study(journal: Path) -> None:
    DAMAGES["empty"](journal)
    assert list_values(journal) == []


def test_a_study_of_an_earlier_version_is_read(journal: Path) -> None:
    expected = list_values(journal)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert all(CHECKSUM in line for line in lines)
    old = [{key: value for key, value in line.items() if key != CHECKSUM} for line in lines]
    journal.write_text("".join(json.dumps(line) + "\n" for line in old))
    assert list_values(journal) == expected


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "studies").touch()
    with pytest.raises(StorageError, match=r"study\.journal cannot be written \((File exists|Not a directory)\)"):
        open_study(tmp_path / "studies" / "study.journal")


def test_the_end_of_a_trial_waits_for_the_disk_and_nothing_else_of_it(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(journal)
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    trial = study.ask({"rate": optuna.distributions.FloatDistribution(0.0, 1.0)})
    trial.report(0.5, 1)
    trial.set_user_attr("outcome", "complete")
    assert not synced
    study.tell(trial, 0.5)
    assert len(synced) == 1
