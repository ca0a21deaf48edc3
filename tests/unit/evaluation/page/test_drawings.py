from __future__ import annotations

import numpy as np

from triptych.data.boards import BoardData
from triptych.evaluation.page.drawings import draw_charts
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import EvaluatedPanel, write_report


def test_charts_without_data_are_left_out(digits: BoardData) -> None:
    test = digits.split.test
    predictions = Predictions(test, digits.labels[test], np.eye(10)[digits.labels[test]])
    metrics = {"test_accuracy": 1.0, "fit_seconds": 1.0, "parameters": 10.0}
    panels = [EvaluatedPanel("numpy-mlp", "numpy-mlp", 0, "run", metrics)]
    report = write_report(digits.prepared, panels, {"run": predictions})
    curves = {"numpy-mlp": [{"val_accuracy": [0.5, 0.6]}]}
    drawn = draw_charts(digits, report, panels, {"numpy-mlp": predictions}, curves, {"numpy-mlp": "#0072B2"})
    assert set(drawn) == {"accuracies", "accuracy", "recalls", "reliability", "costs", "coverage"}
    for svg in drawn.values():
        assert svg.startswith("<svg role=")
        assert "#0072B2" in svg
