from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.data.boards import BoardData
from triptych.evaluation.metrics import measure_probabilities
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import EvaluatedPanel, write_report
from triptych.tracking.answers.panels import log_panels
from triptych.tracking.client import connect, find_or_create_experiment, list_artifacts


def evaluate(data: BoardData, label: str, repeat: int, wrong: int) -> tuple[EvaluatedPanel, Predictions]:
    """Return a repeat that takes the first images for others."""
    test = data.split.test
    labels = data.labels[test]
    answers = np.where(np.arange(len(test)) < wrong, (labels + 1) % 10, labels)
    predictions = Predictions(test, labels, np.eye(10)[answers])
    panel = EvaluatedPanel(
        label.split(maxsplit=1)[0], label, repeat, f"{label} {repeat}", {"fit_seconds": 1.0, "parameters": 1.0}
    )
    return replace(
        panel, metrics=panel.metrics | measure_probabilities(labels, predictions.probabilities, 15)
    ), predictions


def test_a_comparison_has_the_accuracies_and_what_the_two_best_panels_disagree_on(
    digits: BoardData, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty_store, tmp_path)}")
    client = connect()
    experiment_id = find_or_create_experiment(client, "digits")
    wrong = {"resnet50 (random weights)": (0, 54), "numpy-mlp": (108, 108)}
    repeats = [(label, repeat, errors[repeat]) for label, errors in wrong.items() for repeat in (0, 1)]
    made = [evaluate(digits, *one) for one in repeats]
    predictions = {panel.run_id: one for panel, one in made}
    panels = [panel for panel, _ in made]
    report = write_report(digits.prepared, panels, predictions)
    # Once more, as after an interruption; then a comparison whose panels are all of an earlier one, and a single panel.
    fresh, shared, alone = (client.create_run(experiment_id).info.run_id for _ in range(3))
    for _ in range(2):
        log_panels(fresh, digits, report, panels, predictions)
    log_panels(shared, digits, report, [replace(panel, shared=True) for panel in panels], predictions)
    log_panels(alone, digits, write_report(digits.prepared, panels[2:], predictions), panels[2:], predictions)
    expected = {"test_accuracy.resnet50": 0.95, "test_accuracy.numpy-mlp": 0.8}
    for run_id in (fresh, shared):
        assert client.get_run(run_id).data.metrics == pytest.approx(expected)
    pictures = [name for name in list_artifacts(fresh) if name.endswith(".png")]
    assert [name.partition("+")[0] for name in pictures] == ["images/disagreements"]
    with Image.open(client.download_artifacts(fresh, pictures[0], str(tmp_path))) as picture:
        assert picture.width > 600
    assert not list_artifacts(shared)
    assert not list_artifacts(alone)
