from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure

from triptych.evaluation.calibration import bin_confidences
from triptych.evaluation.figures import (
    LABELLED_CLASSES,
    draw_classes,
    draw_confusions,
    draw_costs,
    draw_curves,
    draw_difference,
    draw_reliability,
)


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
    figure = draw_curves({"5 $ panel": [curves, shorter], "other": [curves]})
    draw(figure)
    loss, accuracy = figure.axes
    assert len(loss.lines) == len(accuracy.lines) == 4
    assert len(loss.collections) == 2, "of the panel with two repeats"
    mean = next(line for line in loss.lines if line.get_label() == r"5 \$ panel, train")
    np.testing.assert_array_equal(mean.get_ydata(), [1.0, 0.5])


def test_a_panel_of_one_epoch_is_visible() -> None:
    once = {"train_loss": [2.3], "val_loss": [2.4], "train_accuracy": [0.1], "val_accuracy": [0.1]}
    twice = {name: values * 2 for name, values in once.items()}
    figure = draw_curves({"most-frequent": [once], "numpy-mlp": [twice]})
    assert [line.get_marker() for line in figure.axes[0].lines] == ["o", "o", "", ""]


def test_a_matrix_shows_every_count_as_long_as_there_are_few_classes() -> None:
    counts = np.array([[3, 1], [0, 5]])
    figure = draw_confusions(counts, ("ant", "bee $"), "a title")
    draw(figure)
    assert {text.get_text() for text in figure.axes[0].texts} == {"3", "1", "0", "5"}
    many = LABELLED_CLASSES + 1
    assert not draw_confusions(np.eye(many, dtype=int), [str(n) for n in range(many)], "").axes[0].texts


def test_the_other_figures_have_their_panels() -> None:
    counts = np.array([[3, 1], [0, 5]])
    labels, probabilities = np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    draw(draw_difference(counts, counts.T, ("ant", "bee"), "difference"))
    reliability = draw_reliability({"numpy-mlp": bin_confidences(labels, probabilities, 5)})
    costs = draw_costs({"numpy-mlp": (1.5, 0.9, 0.85, 0.93), "resnet50": (300.0, 0.99, 0.98, 0.995)})
    recalls = draw_classes({"numpy-mlp": [0.9, 0.8], "resnet50": [1.0, 0.7]}, ("ant", "bee"))
    for figure in (reliability, costs, recalls):
        draw(figure)
    assert [line.get_label() for line in reliability.axes[0].lines] == ["perfect calibration", "numpy-mlp"]
    assert len(recalls.axes[0].patches) == 4
    assert costs.axes[0].get_xscale() == "log"
