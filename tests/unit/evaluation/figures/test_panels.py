from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from triptych.evaluation.calibration import bin_confidences
from triptych.evaluation.figures.panels import LINES_OF_A_LEGEND, draw_costs, draw_curves, draw_reliability


def draw(figure: Figure) -> None:
    """Draw a figure, which parses its texts."""
    figure.savefig(io.BytesIO(), format="png")


def test_curves_have_a_line_for_each_panel_and_part_and_a_band_for_repeats() -> None:
    curves = {
        "train_loss": [1.0, 0.5],
        "val_loss": [1.2, 0.9],
        "train_accuracy": [0.5, 0.7],
        "val_accuracy": [0.4, 0.6],
    }
    shorter = {name: values[:1] for name, values in curves.items()}
    figure = draw_curves({"5 $ panel": [curves, shorter], "other": [curves]}, {"5 $ panel": "red", "other": "blue"})
    draw(figure)
    loss, accuracy = figure.axes
    assert len(loss.lines) == len(accuracy.lines) == 4
    assert len(loss.collections) == 2, "of the panel with two repeats"
    mean = next(line for line in loss.lines if line.get_label() == r"5 \$ panel, train")
    assert mean.get_color() == "red"
    np.testing.assert_array_equal(mean.get_ydata(), [1.0, 0.5])


def test_a_panel_of_one_epoch_is_visible() -> None:
    once = {"train_loss": [2.3], "val_loss": [2.4], "train_accuracy": [0.1], "val_accuracy": [0.1]}
    twice = {name: values * 2 for name, values in once.items()}
    colours = {"most-frequent": "red", "numpy-mlp": "blue"}
    figure = draw_curves({"most-frequent": [once], "numpy-mlp": [twice]}, colours)
    assert [line.get_marker() for line in figure.axes[0].lines] == ["o", "o", "", ""]


def test_costs_and_reliability_have_their_panels() -> None:
    colours = {"numpy-mlp": "red", "resnet50": "blue"}
    confidence, correct = np.array([0.8, 0.6, 0.9]), np.array([True, False, True])
    reliability = draw_reliability({"numpy-mlp": bin_confidences(confidence, correct, 5)}, colours)
    costs = draw_costs({"numpy-mlp": (1.5, 0.9, 0.85, 0.93), "resnet50": (300.0, 0.99, 0.98, 0.995)}, colours)
    for figure in (reliability, costs):
        draw(figure)
    assert [line.get_label() for line in reliability.axes[0].lines] == ["perfect calibration", "numpy-mlp"]
    assert costs.axes[0].get_xscale() == "log"


@pytest.mark.parametrize("panels", [LINES_OF_A_LEGEND, LINES_OF_A_LEGEND + 1])
def test_a_long_legend_is_beside_the_axes(panels: int) -> None:
    labels = [f"panel-{number}" for number in range(panels)]
    figure = draw_costs(dict.fromkeys(labels, (1.5, 0.9, 0.85, 0.93)), dict.fromkeys(labels, "red"))
    beside = panels > LINES_OF_A_LEGEND
    assert (len(figure.legends), figure.axes[0].get_legend() is None) == (int(beside), beside)
