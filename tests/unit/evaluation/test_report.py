"""The report's tables: one row of `COLUMNS` shows a metric everywhere."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from rich.console import Console

from triptych.commands.terminal import build_table
from triptych.data.boards import BoardData
from triptych.evaluation import columns
from triptych.evaluation.columns import COLUMNS, NO_VALUE, Column, Table
from triptych.evaluation.folds.corrected import FoldSpread
from triptych.evaluation.metrics import measure_calibrated, measure_probabilities
from triptych.evaluation.model_card import write_card
from triptych.evaluation.page.render import Context, render_page
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import EvaluatedPanel, Report, explain_board, write_report

# What readers of earlier reports find for each panel in comparison.json.
OLD_KEYS = {
    *("label", "repeats", "test_accuracy", "standard_deviation", "low", "high", "test_macro_f1", "test_log_loss"),
    *("test_ece", "fit_seconds", "embed_seconds", "predict_images_per_second", "parameters"),
}
COSTS = {
    "fit_seconds": 1120.345,
    "predict_images_per_second": 12_345.6,
    "parameters": 41_910.0,
    "model_mebibytes": 0.16,
    "fit_memory_mebibytes": 850.0,
    "fold_deviation": 0.01,
    "test_coverage_at_2_percent": 0.345,
}
LONGEST_LABEL = "logistic-regression"


def evaluate(
    data: BoardData, label: str, repeat: int, errors: int, **metrics: float
) -> tuple[EvaluatedPanel, Predictions]:
    """Return a repeat that confuses each of the first `errors` test images with the next class."""
    test = data.split.test
    labels = data.labels[test]
    predicted = labels.copy()
    predicted[:errors] = (predicted[:errors] + 1) % 10
    probabilities = np.full((len(test), 10), 0.01)
    probabilities[np.arange(len(test)), predicted] = 0.91
    measured = measure_probabilities(labels, probabilities, 15) | measure_calibrated(labels, probabilities, 1.5, 15)
    panel = EvaluatedPanel(label, label, repeat, f"{label}-{repeat}", {**measured, **COSTS, **metrics})
    return panel, Predictions(test, labels, probabilities)


@pytest.fixture
def panels(digits: BoardData) -> list[tuple[EvaluatedPanel, Predictions]]:
    """Two repeats of each of two panels, one of them on embeddings."""
    return [
        *(evaluate(digits, LONGEST_LABEL, repeat, 10 + repeat, embed_seconds=4.17, surprise=42.0) for repeat in (0, 1)),
        *(
            evaluate(digits, "numpy-mlp", repeat, 30 + 2 * repeat, surprise=44.0, test_coverage_at_2_percent=0.0)
            for repeat in (0, 1)
        ),
    ]


def report_on(data: BoardData, panels: list[tuple[EvaluatedPanel, Predictions]]) -> Report:
    return write_report(data.prepared, [panel for panel, _ in panels], {panel.run_id: made for panel, made in panels})


def render(data: BoardData, report: Report, panels: list[tuple[EvaluatedPanel, Predictions]]) -> str:
    curve = {name: [0.5, 0.25] for name in ("train_loss", "val_log_loss", "train_accuracy", "val_accuracy")}
    return render_page(
        data,
        report,
        [panel for panel, _ in panels],
        {panel.run_id: made for panel, made in panels},
        {panel.label: [curve] for panel, _ in panels},
        Context({}),
    )


def test_a_row_is_all_that_a_metric_needs_to_be_shown(
    digits: BoardData, panels: list[tuple[EvaluatedPanel, Predictions]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Their test set is divided into folds, so that the page also has the table of these.
    panels = [(panel, replace(made, folds=np.arange(540) % 5)) for panel, made in panels]
    row = Column("a surprise", "{surprise:.1f}", get_args(Table))
    monkeypatch.setattr(columns, "COLUMNS", (*COLUMNS, row))
    report = report_on(digits, panels)
    assert "| a surprise |" in report.as_markdown()
    assert [cells["a surprise"] for cells in report.as_rows("terminal")] == ["42.0", "44.0"]
    assert "- a surprise: 42.0" in write_card(digits.prepared, panels[0][0], "0" * 64)
    page = render(digits, report, panels)
    # The ranking, the costs, the calibration and the coverage.
    assert page.count('<th scope="col">a surprise</th>') == page.count("<td>42.0</td>") == 4
    assert page.count("<td>34.5 %</td>") == page.count("<td>0.0 %</td>") == 1
    assert (
        "The promise cannot be made for numpy-mlp: too many of the most confident validation images are wrong" in page
    )
    assert page.count('<th scope="col">fold 5</th>') == 1
    assert isinstance(report.pairs[0].paired.spread, FoldSpread)
    assert report.as_json()["standings"][0]["surprise"] == 42.0
    # The matrix of the best panel, and that of its difference to the second, as tables.
    assert page.count('<table class="matrix">') == 2
    assert re.search(r'<td style="--s:\d+%"[^>]* class="better', page)
    assert len(page) < 150_000


def test_every_column_shows_what_was_measured(
    digits: BoardData, panels: list[tuple[EvaluatedPanel, Predictions]]
) -> None:
    report = report_on(digits, panels)
    for table in ("ranking", "terminal", "costs", "calibration"):
        [first, _] = report.as_rows(table)
        assert list(first) == [column.heading_in(table) for column in COLUMNS if table in column.tables]
        assert NO_VALUE not in first.values()
    [best, other] = report.as_rows()
    assert (best["panel"], best["repeats"], other["embedding time (s)"]) == (LONGEST_LABEL, "2", NO_VALUE)
    accuracies = [1 - errors / 540 for errors in (10, 11)]
    assert best["accuracy"] == f"{np.mean(accuracies):.4f}"
    assert best["std"] == f"{np.std(accuracies, ddof=1):.4f}"


def test_a_column_without_a_value_is_left_out(
    digits: BoardData, panels: list[tuple[EvaluatedPanel, Predictions]]
) -> None:
    [row] = report_on(digits, panels[-1:]).as_rows()
    assert not {"std", "embedding time (s)"} & set(row)


def test_the_ranking_fits_a_terminal_of_eighty_columns(
    digits: BoardData, panels: list[tuple[EvaluatedPanel, Predictions]]
) -> None:
    table = build_table("digits", report_on(digits, panels).as_rows("terminal"))
    console = Console(width=200)
    assert console.measure(table).maximum <= 80
    with console.capture() as captured:
        console.print(table)
    assert [word for word in captured.get().split() if word in {"fit", "embedding", "time", "(s)"}] == [
        *("fit", "embedding"),
        *("time", "(s)", "time", "(s)"),
    ]


def test_times_of_an_earlier_training_are_marked(
    digits: BoardData, panels: list[tuple[EvaluatedPanel, Predictions]]
) -> None:
    restored = [(replace(panel, restored_epochs=3 * (panel.label == "numpy-mlp")), made) for panel, made in panels]
    report = report_on(digits, restored)
    cells = {row["panel"]: row["fit\ntime (s)"] for row in report.as_rows("terminal")}
    assert cells == {LONGEST_LABEL: "1120.35", "numpy-mlp": "1120.35*"}
    assert any(caveat.startswith("* restored from an earlier, identical training") for caveat in report.caveats)
    assert {row["embedding\ntime (s)"] for row in report.as_rows("terminal")} == {"4.17", "-"}, "measured now"
    shared = report_on(digits, [(replace(panel, restored_epochs=3, shared=True), made) for panel, made in panels])
    assert {row["embedding\ntime (s)"] for row in shared.as_rows("terminal")} == {"4.17*", "-"}


def test_readers_of_earlier_reports_find_their_keys(
    digits: BoardData, panels: list[tuple[EvaluatedPanel, Predictions]]
) -> None:
    content = report_on(digits, panels).as_json()
    keys = {"board", "test_images", "standings", "pairs", "verdict", "caveats", "missing", "folds", "findings"}
    assert set(content) == {*keys, "ensemble"}
    best, other = content["standings"]
    assert set(best) >= OLD_KEYS <= set(other)
    assert (best["embed_seconds"], other["embed_seconds"]) == (4.17, None)
    assert isinstance(best["parameters"], int)
    pair = content["pairs"][0]
    assert {"first", "second", "paired", "adjusted_p_value", "separated"} <= set(pair)
    assert {"difference", "low", "high", "p_value", "only_first", "only_second"} <= set(pair["paired"])


def test_only_repeats_that_every_panel_has_are_compared(
    digits: BoardData, panels: list[tuple[EvaluatedPanel, Predictions]]
) -> None:
    # The repeat that is missing is the worse one of the better panel, and the other panel has a third, perfect one.
    complete = report_on(digits, panels)
    third = evaluate(digits, "numpy-mlp", 2, 0)
    report = report_on(digits, [panels[0], *panels[2:], third])
    [best, other] = report.standings
    assert (best.label, best.repeats, other.repeats) == (LONGEST_LABEL, 1, 1)
    assert (best.test_accuracy, other.test_accuracy) == (1 - 10 / 540, 1 - 30 / 540)
    [pair] = report.pairs
    assert pair.paired.difference == pytest.approx(20 / 540)
    assert report.verdict.startswith(
        f"This training of {LONGEST_LABEL} wins with 0.9815 on 540 test images, 3.70 points"
    )
    assert "only repeats that every panel has are compared, without numpy-mlp #1 and numpy-mlp #2" in report.caveats
    assert not [caveat for caveat in complete.caveats if "only repeats" in caveat]
    # With none in common, nothing is left out.
    assert [standing.repeats for standing in report_on(digits, [panels[0], panels[3]]).standings] == [1, 1]


def test_a_metric_that_one_repeat_lacks_is_the_mean_of_the_others(
    digits: BoardData, panels: list[tuple[EvaluatedPanel, Predictions]]
) -> None:
    del panels[1][0].metrics["temperature"]
    assert report_on(digits, panels).standings[0].metrics["temperature"] == 1.5


def test_panels_that_draw_nothing_are_named_where_there_are_repeats(digits: BoardData) -> None:
    config = digits.prepared.config.model_copy(update={"panels": ("numpy-mlp", "most-frequent"), "repeats": 1})
    assert not [caveat for caveat in explain_board(replace(digits.prepared, config=config)) if "drawn" in caveat]
    twice = replace(digits.prepared, config=config.model_copy(update={"repeats": 2}))
    [caveat] = [caveat for caveat in explain_board(twice) if "drawn" in caveat]
    assert caveat == "nothing is drawn in the training of most-frequent: all repeats are equal, their std is 0"


def test_weighted_training_is_named(digits: BoardData) -> None:
    config = digits.prepared.config.model_copy(update={"class_weights": "balanced"})
    [caveat] = set(explain_board(replace(digits.prepared, config=config))) - set(explain_board(digits.prepared))
    assert caveat == (
        "class_weights=balanced weights the training images; validation and test count every image once, so that "
        "accuracy may fall where macro F1 rises"
    )


def test_classes_without_test_images_are_named_once(
    digits: BoardData, panels: list[tuple[EvaluatedPanel, Predictions]]
) -> None:
    assert not [caveat for caveat in report_on(digits, panels).caveats if "no test image" in caveat]
    labels = np.minimum(panels[0][1].labels, 7)
    without = [(panel, replace(made, labels=labels)) for panel, made in panels]
    report = report_on(digits, without)
    assert "no test image shows 8 and 9: macro F1 is the mean of the other classes" in report.caveats
    # Their recall has no point.
    page = render(digits, report, without)
    assert "numpy-mlp, 7: " in page
    assert "numpy-mlp, 8: " not in page
