from __future__ import annotations

from typing import Any

import numpy as np

from triptych.evaluation.calibration import bin_confidences
from triptych.evaluation.charts.panels import (
    POINTS,
    chart_accuracies,
    chart_costs,
    chart_coverage,
    chart_curves,
    chart_reliability,
    chart_training,
)
from triptych.evaluation.charts.vega import draw
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import EvaluatedPanel, Standing

COLOURS = {"numpy-mlp": "#0072B2", "torch-mlp": "#D55E00", "most-frequent": "#69694B"}


def list_values(spec: Any, layer: int) -> list[dict[str, Any]]:
    """Return the rows that a layer draws."""
    return list(spec["layer"][layer].get("data", spec.get("data"))["values"])


def stand(label: str, accuracy: float, seconds: float) -> Standing:
    return Standing(
        label, 1, None, accuracy - 0.02, accuracy + 0.02, {"test_accuracy": accuracy, "fit_seconds": seconds}
    )


STANDINGS = [stand("numpy-mlp", 0.97, 2.0), stand("torch-mlp", 0.96, 9.0), stand("most-frequent", 0.1, 0.0)]


def test_a_panel_that_guesses_is_written_at_the_edge_of_the_accuracies() -> None:
    repeats = [EvaluatedPanel(one.label, one.label, 0, one.label, one.metrics) for one in STANDINGS]
    spec = chart_accuracies(STANDINGS, repeats, COLOURS)
    for layer in range(3):
        assert {row["panel"] for row in list_values(spec, layer)} == {"numpy-mlp", "torch-mlp"}
    [edge] = list_values(spec, 3)
    assert edge == {"panel": "most-frequent", "text": "← 0.1000, off this axis"}
    assert "numpy-mlp: 0.9700, interval 0.9500 to 0.9900" in draw(spec, "x", "x")


def test_a_line_is_the_mean_of_the_repeats_that_have_not_stopped() -> None:
    longer, shorter = {"val_accuracy": [0.4, 0.6, 0.5]}, {"val_accuracy": [0.6, 0.4]}
    once = {"val_accuracy": [0.1]}
    spec = chart_curves({"numpy-mlp": [longer, shorter], "most-frequent": [once]}, COLOURS, "accuracy")
    points = list_values(spec, 0)
    assert [(row["epoch"], row["value"], row["low"], row["high"]) for row in points if row["panel"] == "numpy-mlp"] == [
        *((1, 0.5, 0.4, 0.6), (2, 0.5, 0.4, 0.6), (3, 0.5, 0.5, 0.5)),
    ]
    # A panel that is fitted at once is a line as long as the others, and its best epoch lies below the axis.
    assert [(row["epoch"], row["value"]) for row in points if row["panel"] == "most-frequent"] == [(1, 0.1), (3, 0.1)]
    [best] = list_values(spec, 3)
    assert best["text"] == "numpy-mlp, best epoch 1: 0.5000"


def test_the_best_epoch_of_a_loss_is_the_lowest() -> None:
    spec = chart_curves({"numpy-mlp": [{"val_log_loss": [0.9, 0.2, 0.3]}]}, COLOURS, "log_loss")
    assert [row["epoch"] for row in list_values(spec, 2)] == [2]
    assert chart_curves({"numpy-mlp": [{"val_loss": [0.9]}]}, COLOURS, "log_loss") is None


def test_one_twin_is_dashed_and_both_charts_of_a_run_have_a_legend() -> None:
    curve = {"val_accuracy": [0.4, 0.6], "train_accuracy": [0.5, 0.7], "val_log_loss": [1.0, 0.5]}
    spec: Any = chart_training({"numpy-mlp": [curve], "torch-mlp": [curve]}, COLOURS)
    drawn = draw(spec, "training", "curves")
    assert drawn.count('stroke-dasharray="6,4"') >= 2
    assert "role-legend" in drawn
    assert chart_training({"numpy-mlp": [{}]}, COLOURS) is None


def test_the_pareto_line_has_the_panels_that_no_other_beats_in_both() -> None:
    standings = [stand("a", 0.99, 50.0), stand("b", 0.98, 2.0), stand("c", 0.97, 9.0), stand("d", 0.95, 1.0)]
    spec = chart_costs(standings, dict.fromkeys("abcd", "#0072B2"))
    assert [row["panel"] for row in list_values(spec, 0)] == ["d", "b", "a"]
    assert ">c<" in draw(spec, "x", "x")


def test_reliability_has_counts_and_intervals() -> None:
    confidence, correct = np.array([0.82, 0.83, 0.3]), np.array([True, False, True])
    spec = chart_reliability({"numpy-mlp": bin_confidences(confidence, correct, 5)}, COLOURS, 0.95)
    one, two = list_values(spec, 1)
    assert (one["images"], two["images"]) == (1, 2)
    assert two["accuracy"] == 0.5
    assert two["low"] < 0.5 < two["high"]
    assert "2 images, confidence 0.825, accuracy 0.500" in draw(spec, "x", "x")


def test_a_line_of_coverage_ends_at_the_accuracy_on_all_images() -> None:
    rng = np.random.default_rng(0)
    labels, first = rng.integers(0, 2, 901), rng.random(901)
    one = Predictions(np.arange(901), labels, np.stack([first, 1 - first], axis=1))
    wrong = Predictions(np.arange(901), 1 - one.predicted, one.probabilities)
    spec: Any = chart_coverage({"one": one, "never right": wrong}, dict.fromkeys(("one", "never right"), "#0072B2"))
    rows = spec["data"]["values"]
    assert {row["panel"] for row in rows} == {"one"}
    assert max(rows, key=lambda row: row["coverage"]) == {
        "panel": "one",
        "coverage": 1.0,
        "accuracy": float(one.correct.mean()),
    }
    assert len(rows) <= 2 * POINTS
