"""Figures that compare panels: training curves, costs, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from triptych.evaluation.calibration import ReliabilityBin
from triptych.evaluation.figures.style import escape_text, finish

CURVE_STYLES = {"train": "--", "val": "-"}
# A legend with more lines than this covers what the axes show, and is placed beside them.
LINES_OF_A_LEGEND = 12

Curves = Mapping[str, Sequence[float]]
Colours = Mapping[str, str]


def draw_curves(curves_of: Mapping[str, Sequence[Curves]], colours: Colours) -> Figure:
    """Return a figure of loss and accuracy by epoch, with a line for each panel and part.

    A line is the mean over a panel's repeats, the band around it the range from the lowest to the highest.

    Args:
        curves_of: for each panel's label and repeat, the metrics by name (`train_loss`, `val_accuracy`, ...), one
            value for each epoch.
        colours: the colour of each label.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for label, repeats in curves_of.items():
            for part, style in CURVE_STYLES.items():
                values = [curves[name] for curves in repeats if curves.get(name := f"{part}_{quantity}")]
                _draw_band(axes, values, f"{label}, {part}", colours[label], style)
        axes.set(xlabel="epoch", ylabel=quantity)
        finish(axes, legend=False)
    _explain_lines(figure, figure.axes[1])
    return figure


def _draw_band(axes: Any, repeats: Sequence[Sequence[float]], label: str, colour: str, style: str) -> None:
    """Draw the mean and the range of some curves; at each epoch, of those that have not stopped yet."""
    if not repeats:
        return
    epochs = range(1, max(len(values) for values in repeats) + 1)
    going = [[values[epoch - 1] for values in repeats if len(values) >= epoch] for epoch in epochs]
    means = [fmean(now) for now in going]
    # A panel that is fitted in one go has a single epoch, and a line of one point would be invisible.
    marker = "o" if len(means) == 1 else ""
    axes.plot(epochs, means, style, color=colour, marker=marker, linewidth=1.5, label=escape_text(label))
    if len(repeats) > 1:
        lowest, highest = [min(now) for now in going], [max(now) for now in going]
        axes.fill_between(epochs, lowest, highest, color=colour, alpha=0.15, linewidth=0)


def _explain_lines(figure: Figure, axes: Any) -> None:
    """Draw the legend in the axes, or beside them if it is long."""
    if len(axes.get_legend_handles_labels()[1]) <= LINES_OF_A_LEGEND:
        axes.legend(frameon=False, fontsize="small")
    else:
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize="x-small")


def draw_reliability(bins_of: Mapping[str, Sequence[ReliabilityBin]], colours: Colours) -> Figure:
    """Return a reliability diagram: accuracy against confidence for each panel; the diagonal is perfect calibration."""
    figure = Figure(figsize=(6.4, 5.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], ":", color="grey", label="perfect calibration")
    for label, bins in bins_of.items():
        confidences, accuracies = [part.confidence for part in bins], [part.accuracy for part in bins]
        axes.plot(confidences, accuracies, "o-", color=colours[label], label=escape_text(label))
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    finish(axes, legend=False)
    _explain_lines(figure, axes)
    return figure


def draw_costs(points: Mapping[str, tuple[float, float, float, float]], colours: Colours) -> Figure:
    """Return a figure of accuracy with its interval against training time.

    Args:
        points: for each label: embedding and fit time in seconds, accuracy, lower and upper bound of its interval.
        colours: the colour of each label.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for label, (seconds, accuracy, low, high) in points.items():
        errors = [[max(accuracy - low, 0.0)], [max(high - accuracy, 0.0)]]
        axes.errorbar([seconds], [accuracy], errors, fmt="o", capsize=4, color=colours[label], label=escape_text(label))
    axes.set(xlabel="embedding and fit time (s, log scale)", ylabel="test accuracy", xscale="log")
    finish(axes, legend=False)
    _explain_lines(figure, axes)
    return figure
