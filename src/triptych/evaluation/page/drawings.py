"""All charts of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan

from markupsafe import Markup

from triptych.data.boards import BoardData
from triptych.evaluation.calibration import bin_confidences
from triptych.evaluation.charts.classes import chart_recalls
from triptych.evaluation.charts.panels import (
    Curves,
    chart_accuracies,
    chart_costs,
    chart_coverage,
    chart_curves,
    chart_reliability,
)
from triptych.evaluation.charts.vega import Spec, draw
from triptych.evaluation.metrics import measure_classes
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import EvaluatedPanel, Report


def draw_charts(
    data: BoardData,
    report: Report,
    panels: Sequence[EvaluatedPanel],
    first: Mapping[str, Predictions],
    curves: Mapping[str, Sequence[Curves]],
    colours: Mapping[str, str],
) -> dict[str, Markup]:
    """Return the drawing of each chart that there are data for, by its name.

    Args:
        data: the board.
        report: of the comparison.
        panels: every repeat of every panel.
        first: the predictions of the first repeat, by label.
        curves: for each label and repeat, the metrics of each epoch.
        colours: the colour of each label.
    """
    config, classes = data.prepared.config.evaluate, data.prepared.classes
    bins = {
        label: bin_confidences(one.confidence, one.correct, config.calibration_bins) for label, one in first.items()
    }
    recalls = {
        label: [
            row["recall"] if row["images"] else nan for row in measure_classes(one.labels, one.predicted, len(classes))
        ]
        for label, one in first.items()
    }
    best = report.standings[0].test_accuracy
    charts: dict[str, tuple[Spec | None, str]] = {
        "accuracies": (chart_accuracies(report.standings, panels, colours), "Test accuracy of each panel"),
        "accuracy": (chart_curves(curves, colours, "accuracy"), "Validation accuracy by epoch"),
        "loss": (chart_curves(curves, colours, "log_loss"), "Validation log loss by epoch"),
        "recalls": (chart_recalls(recalls, classes, colours, best), "Recall of each class"),
        "reliability": (chart_reliability(bins, colours, config.confidence_level), "Accuracy against confidence"),
        "costs": (chart_costs(report.standings, colours), "Test accuracy against training time"),
        "coverage": (chart_coverage(first, colours), "Accuracy against the share of images that are answered"),
    }
    return {name: draw(spec, name, text) for name, (spec, text) in charts.items() if spec is not None}
