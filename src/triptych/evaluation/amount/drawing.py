"""The figure of learning curves: accuracy against the number of training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from triptych.evaluation.amount.forecast import Amount
from triptych.evaluation.figures.style import escape_text, finish


def draw_amounts(amounts: Sequence[Amount], colours: Mapping[str, str]) -> Figure:
    """Return a figure of the measured accuracies with their intervals, and of their forecasts, dashed.

    Args:
        amounts: the learning curve of each panel.
        colours: the colour of each label.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for amount in amounts:
        colour = colours[amount.label]
        last = amount.measured[-1]
        for points, style, label in (
            (amount.measured, "o-", escape_text(amount.label)),
            ((last, *amount.forecast), "--", None),
        ):
            images = [point.images for point in points]
            axes.plot(images, [point.value for point in points], style, color=colour, label=label, markersize=4)
            lows, highs = [point.low for point in points], [point.high for point in points]
            axes.fill_between(images, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="training images (log scale; dashed: forecast)", ylabel="test accuracy", xscale="log")
    finish(axes)
    return figure
