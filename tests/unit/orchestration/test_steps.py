from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.studies import PANEL, name_board
from triptych.data.boards import BoardData
from triptych.errors import DataError, DivergenceError
from triptych.orchestration import steps
from triptych.panels.identity import identify_comparison
from triptych.tracking.leases import own_leases
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.runs import start_comparison


@pytest.fixture
def comparison(digits: BoardData, own_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComparisonRecord:
    """A comparison of one panel; its tasks are called without Prefect, and no other test left checkpoints for it."""
    del own_store
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(steps, "get_run_logger", lambda: logging.getLogger("test"))
    monkeypatch.setattr(steps, "report_epochs", lambda label, log: log)
    prepared = name_board(digits.prepared, "steps", epochs=2)
    record = start_comparison(prepared, {}, identify_comparison(prepared))
    own_leases.release(record.run_id)
    return record


def test_a_panel_is_trained_once(comparison: ComparisonRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    [job] = comparison.jobs
    trained = steps.train_in_run(comparison, job, None)
    assert (trained.job, trained.restored_epochs) == (job, 0)
    monkeypatch.setattr(steps, "fit_panel", None)
    again = steps.train_in_run(comparison, job, None)
    assert (again.run_id, again.model_uri) == (trained.run_id, trained.model_uri)


def test_a_training_that_diverges_names_its_panel_and_setting(
    comparison: ComparisonRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object) -> None:
        raise DivergenceError("the training loss is nan")

    monkeypatch.setattr(steps, "fit_panel", diverge)
    [job] = comparison.jobs
    with pytest.raises(DivergenceError, match=rf"^{PANEL}.*: the training loss is nan \(numpy_mlp.learning_rate\)$"):
        steps.train_in_run(comparison, job, None)


def test_other_data_than_those_of_the_comparison_are_refused(digits: BoardData) -> None:
    with pytest.raises(DataError, match="is not the data of the comparison"):
        steps.provide_board(replace(digits.prepared, data_digest="0" * 64, dataset_folder=digits.prepared.split_file))
