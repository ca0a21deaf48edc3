from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import invocations
from mlflow.pyfunc.utils.environment import _simulate_serving_environment

from helpers.comparisons import Recorded
from helpers.damages import DAMAGES
from triptych.data.boards import load_board
from triptych.errors import DamagedFileError
from triptych.tracking.artifacts import (
    load_evaluation,
    load_logged_curves,
    load_logged_model,
    load_logged_predictions,
    load_logged_reference,
    log_evaluation,
)
from triptych.tracking.client import connect, list_artifacts
from triptych.tracking.links import link_inside, link_to_charts


def test_a_logged_model_predicts_what_its_trainer_did(recorded: Recorded) -> None:
    before = sys.path
    model = load_logged_model(recorded.panel.model_uri)
    assert sys.path == before, "processes that are started later would find the modules of the model"
    reference = load_logged_reference(recorded.panel.run_id)
    images = load_board(recorded.comparison.prepared).pixels[reference.indices]
    np.testing.assert_allclose(model.predict(images), reference.probabilities, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(reference.probabilities, recorded.fitted.reference.probabilities)
    assert model.metadata.signature is not None
    assert model.metadata.env_vars is None  # MLflow would watch the environment of all threads
    assert model.metadata.metadata["white_level"] is None


@pytest.mark.parametrize(
    ("images", "rule"),
    [
        ([[[[0.5]]]], "multiply pixels in 0..1 by 255"),
        ([[[[256]]]], "between 256 and 256: send whole numbers, 0..255"),
        ([[[[-1]]]], "between -1 and -1"),
        ([[[[0, 0]]]], r"the shape (1, 1, 1, 2): send (n, height, width, channels) with 1 channel (gray) or 3 (RGB)"),
        ([[[[0] * 9]]], "with 1 channel (gray) or 3 (RGB)"),
        ([[[0]]], "the shape (1, 1, 1)"),
        ([[[["a"]]]], "send whole numbers"),
    ],
    ids=str,
)
def test_mlflows_server_answers_images_that_are_none_with_the_rule(
    recorded: Recorded, images: list[Any], rule: str
) -> None:
    model = load_logged_model(recorded.panel.model_uri)
    with pytest.raises(MlflowException) as caught:
        invocations(json.dumps({"inputs": images}), "application/json", model, model.metadata.get_input_schema())
    assert caught.value.get_http_status_code() == 400
    assert rule in str(caught.value)


def test_mlflows_server_takes_whole_numbers(recorded: Recorded) -> None:
    model = load_logged_model(recorded.panel.model_uri)
    images = load_board(recorded.comparison.prepared).pixels[:3]
    asked = json.dumps({"inputs": np.asarray(images).tolist()})
    answer = invocations(asked, "application/json", model, model.metadata.get_input_schema())
    predictions = [list(row.values()) for row in json.loads(answer.response)["predictions"]]
    np.testing.assert_allclose(predictions, model.predict(images).to_numpy(), rtol=1e-6)


def test_a_model_that_is_logged_leaves_the_environment_as_other_threads_read_it() -> None:
    with _simulate_serving_environment():
        names = list(os.environ)
    # As requests and urllib do, in the middle of which the block may end.
    assert all(name in os.environ for name in names)


@pytest.mark.parametrize(
    ("name", "load"), [("probe.npz", load_logged_reference), ("test_predictions.npz", load_logged_predictions)]
)
def test_damaged_results_are_named(name: str, load: Callable[[str], object], recorded: Recorded) -> None:
    run = connect().get_run(recorded.panel.run_id)
    file = Path(urlsplit(str(run.info.artifact_uri)).path) / name
    content = file.read_bytes()
    try:
        for damage in ("flip", "cut", "empty", "other version"):
            DAMAGES[damage](file)
            message = f"runs:/{run.info.run_id}/{name} is damaged .*: run the same command again with --fresh"
            with pytest.raises(DamagedFileError, match=message):
                load(run.info.run_id)
    finally:
        file.write_bytes(content)


def test_what_was_logged_is_read_back(recorded: Recorded) -> None:
    metrics = load_evaluation(recorded.panel.run_id)
    assert metrics == recorded.panel.metrics
    assert metrics["test_accuracy"] == recorded.evaluation.metrics["test_accuracy"]
    predictions = load_logged_predictions(recorded.panel.run_id)
    np.testing.assert_array_equal(predictions.probabilities, recorded.evaluation.predictions.probabilities)
    [curves] = load_logged_curves([recorded.panel])["numpy-mlp"]
    assert all(curves[name] == recorded.fitted.curves[name] for name in ("val_loss", "val_log_loss"))


def test_an_evaluation_that_is_logged_again_is_shown_once(recorded: Recorded) -> None:
    [job] = recorded.comparison.jobs
    assert log_evaluation(recorded.panel.run_id, job, recorded.evaluation) == recorded.panel.metrics
    table = connect().load_table(recorded.comparison.experiment_id, "test_predictions.json", [recorded.panel.run_id])
    assert table["image"].tolist() == recorded.evaluation.predictions.indices.tolist()
    assert list(table)[3:] == [f"probability of {digit}" for digit in range(10)]


def test_a_panel_that_was_not_evaluated_has_no_evaluation(recorded: Recorded) -> None:
    run = connect().create_run(recorded.comparison.experiment_id)
    assert load_evaluation(run.info.run_id) is None


def test_the_files_of_a_panel_and_of_a_comparison(recorded: Recorded) -> None:
    panel = {"confusion_matrix.json", "confusion_matrix.png", "classes.json", "probe.npz", "test_predictions.json"}
    assert panel <= set(list_artifacts(recorded.panel.run_id))
    whole = {"comparison.json", "comparison.md", "curves.png", "report.html"}
    assert whole <= set(list_artifacts(recorded.comparison.run_id))
    run = connect().get_run(recorded.comparison.run_id)
    assert run.info.status == "FINISHED"
    charts = link_inside(link_to_charts(recorded.comparison.experiment_id, recorded.comparison.comparison))
    notes = [run.data.tags, connect().get_run(recorded.panel.run_id).data.tags]
    assert all(f"]({charts})" in tags["mlflow.note.content"] for tags in notes)
    accuracy = f"Accuracy {recorded.panel.metrics['test_accuracy']:.4f} "
    assert notes[1]["mlflow.note.content"].startswith(accuracy)
    board = connect().get_experiment(recorded.comparison.experiment_id).tags["mlflow.note.content"]
    assert f"]({link_inside(recorded.link)})" in board
    # What it says of tags is true.
    named = set(re.findall(r"`(triptych\.\w+)`", board))
    assert len(named) >= 4
    assert named <= notes[1].keys()
    file = mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/comparison.json")
    assert json.loads(Path(file).read_text(encoding="utf-8"))["board"] == "digits"
