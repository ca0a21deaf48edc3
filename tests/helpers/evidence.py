"""A comparison as the checks of models see it, made up: predictions and curves with the traits that a test needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from triptych.data.boards import BoardData
from triptych.evaluation.charts.panels import Curves
from triptych.evaluation.doctor.evidence import Evidence, gather_evidence
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import EvaluatedPanel, write_report

METRICS = {"parameters": 10.0, "fit_seconds": 1.0, "test_ece": 0.01, "test_ece_floor": 0.01}


def make_evidence(data: BoardData, *panels: dict[str, Any], tuned: tuple[str, ...] = (), **fields: Any) -> Evidence:
    """Return a comparison of panels on a board.

    Args:
        data: the board.
        panels: for each repeat of a panel the fields of `make_panel`.
        tuned: names of the panels that were tuned.
        fields: fields of the board's configuration.
    """
    names = tuple(dict.fromkeys(panel["name"] for panel in panels))
    config = data.prepared.config.model_copy(update={"panels": names, **fields})
    data = replace(data, prepared=replace(data.prepared, config=config, tuned=tuned))
    evaluated: list[EvaluatedPanel] = []
    predictions: dict[str, Predictions] = {}
    curves: dict[str, list[Curves]] = {}
    for number, panel in enumerate(panels):
        repeat = sum(one.panel == panel["name"] for one in evaluated)
        made, predicted = make_panel(data, repeat=repeat, run_id=f"run{number}", **panel)
        evaluated.append(made)
        predictions[made.run_id] = predicted
        curves.setdefault(made.label, []).append(panel.get("curves", {}))
    report = write_report(data.prepared, evaluated, predictions)
    return gather_evidence(data, report, evaluated, predictions, curves)


def make_panel(
    data: BoardData,
    *,
    name: str,
    repeat: int,
    run_id: str,
    errors: int = 10,
    answer: int | None = None,
    never: int | None = None,
    curves: Curves | None = None,  # noqa: ARG001 - belongs to the comparison
    **metrics: float,
) -> tuple[EvaluatedPanel, Predictions]:
    """Return a repeat of a panel, and its predictions of the test images.

    Args:
        data: the board.
        name: of the panel.
        repeat: number of the repeat.
        run_id: of its run.
        errors: so many of the first test images are taken for the next class.
        answer: always answer this class instead.
        never: answer another class instead of this one.
        curves: the metrics of each epoch, by name.
        metrics: final metrics.
    """
    test = data.split.test
    labels, classes = data.labels[test], len(data.prepared.classes)
    predicted = labels.copy()
    predicted[:errors] = (predicted[:errors] + 1) % classes
    if answer is not None:
        predicted[:] = answer
    if never is not None:
        predicted[predicted == never] = (never + 1) % classes
    probabilities = np.full((len(test), classes), 0.01)
    probabilities[np.arange(len(test)), predicted] = 1.0 - 0.01 * (classes - 1)
    predictions = Predictions(test, labels, probabilities, data.image_ids[test], data.prepared.classes)
    found = {**METRICS, "test_accuracy": float(predictions.correct.mean()), **metrics}
    return EvaluatedPanel(name, name, repeat, run_id, found), predictions
