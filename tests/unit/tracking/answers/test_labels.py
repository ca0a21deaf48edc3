from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from triptych.data.boards import BoardData
from triptych.evaluation.labels.judge import JudgedLabels
from triptych.evaluation.labels.suspects import Suspect
from triptych.tracking.answers.labels import SUSPECTED, SUSPECTS_FILE, log_suspects
from triptych.tracking.client import connect, find_or_create_experiment, list_artifacts


def test_the_number_is_a_metric_and_the_list_an_artifact_if_there_is_one(
    digits: BoardData, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty_store, tmp_path)}")
    client = connect()
    experiment_id = find_or_create_experiment(client, "digits")
    for suspects in ([], [Suspect(7, 7, 9, 0.98)]):
        run_id = client.create_run(experiment_id).info.run_id
        log_suspects(run_id, JudgedLabels(digits, suspects, [], 0.98))
        assert client.get_run(run_id).data.metrics[SUSPECTED] == len(suspects)
        assert (SUSPECTS_FILE in list_artifacts(run_id)) == bool(suspects)
    found = json.loads(Path(client.download_artifacts(run_id, SUSPECTS_FILE, str(tmp_path))).read_text())
    assert [(one["path"], one["suggested"], one["probability"]) for one in found["suspects"]] == [
        ("image 7", "9", 0.98)
    ]
