from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import mlflow
import pytest

from triptych.config.resolve import resolve_config
from triptych.data.boards import prepare_board
from triptych.evaluation.amount.forecast import Amount, Estimate
from triptych.tracking.answers.amount import PAGE_FILE, RESULT_FILE, recall_amounts, record_amounts
from triptych.tracking.client import connect
from triptych.tracking.queries import find_recorded
from triptych.tracking.tags import read_tags


def test_the_steps_of_the_curve_are_numbers_of_images(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty_store, tmp_path)}")
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    prepared = prepare_board(resolve_config("digits", panels=["most-frequent"]).boards[0])
    points = (Estimate(500, 0.9, 0.88, 0.92), Estimate(1000, 0.92, 0.9, 0.94))
    amount = Amount("most-frequent", "most-frequent", points, points[1:], points[1:], points[1], points[1], 0.95)
    link = record_amounts(prepared, [amount])
    client = connect()
    [sentence] = recall_amounts("1")
    assert re.fullmatch(r"most-frequent: .* \(measured on 20\d\d-\d\d-\d\d\)", sentence)
    assert recall_amounts("0") == []
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.run_id in link
    assert (read_tags(run)["role"], run.info.status) == ("amount", "FINISHED")
    assert run.data.params["split.seed"] == "0"
    history = client.get_metric_history(run.info.run_id, "most-frequent/test_accuracy")
    assert [(point.step, point.value) for point in history] == [(500, 0.9), (1000, 0.92)]
    assert "twice as many" in mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/{PAGE_FILE}")
    assert json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/{RESULT_FILE}"))[0] == json.loads(
        json.dumps(amount.as_json())
    )
    [shown] = find_recorded()
    assert (shown.board, shown.role, shown.name, shown.address) == ("digits", "amount", run.info.run_id, link)
    assert sentence.startswith(shown.verdict)
    assert [shown] == find_recorded(shown.started)
