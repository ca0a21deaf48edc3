"""The figures of a report, in one style; drawn on `Figure` objects, which is thread-safe, unlike `pyplot`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from triptych.errors import escape_controls
from triptych.evaluation.calibration import ReliabilityBin

# Okabe and Ito's palette, which is safe for colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CURVE_STYLES = {"train": "--", "val": "-"}
# With more classes than this, numbers and names would be too small to read and are left out.
LABELLED_CLASSES = 20
LEGEND_COLUMNS = 4

Curves = Mapping[str, Sequence[float]]


def escape_text(text: str) -> str:
    r"""Return a text that matplotlib does not parse as mathematics, nor looks for its control characters in a font.

    >>> print(escape_text("5 $"))
    5 \$
    """
    return escape_controls(text).replace("$", r"\$")


def draw_curves(curves_of: Mapping[str, Sequence[Curves]]) -> Figure:
    """Return a figure of loss and accuracy by epoch, with a line for each panel and part.

    A line is the mean over a panel's repeats, the band around it the range from the lowest to the highest.

    Args:
        curves_of: for each panel's label and repeat, the metrics by name (`train_loss`, `val_accuracy`, ...), one
            value for each epoch.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for position, (label, repeats) in enumerate(curves_of.items()):
            for part, style in CURVE_STYLES.items():
                values = [curves[name] for curves in repeats if curves.get(name := f"{part}_{quantity}")]
                _draw_band(axes, values, f"{label}, {part}", COLOURS[position % len(COLOURS)], style)
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[1].legend(frameon=False, fontsize="small")
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


def draw_confusions(counts: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Return a figure of a confusion matrix, coloured by the fraction of each true class.

    Args:
        counts: (classes, classes) int64, rows are true classes, columns predicted ones.
        classes: the class names.
        title: of the figure.
    """
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, label="fraction of the true class")
    axes.set(xlabel="predicted", ylabel="true", title=escape_text(title))
    if len(classes) <= LABELLED_CLASSES:
        names = [escape_text(name) for name in classes]
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize="small", color=colour)
    return figure


def draw_difference(first: NDArray[np.int64], second: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Return a figure of the difference of two confusion matrices, first minus second.

    Args:
        first: (classes, classes) int64, rows are true classes, columns predicted ones.
        second: the same for another panel.
        classes: the class names.
        title: of the figure.
    """
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    difference = first - second
    limit = max(1, int(np.abs(difference).max()))
    image = axes.imshow(difference, cmap="RdBu", vmin=-limit, vmax=limit)
    figure.colorbar(image, ax=axes, label="more images (blue) or fewer (red)")
    axes.set(xlabel="predicted", ylabel="true", title=escape_text(title))
    if len(classes) <= LABELLED_CLASSES:
        names = [escape_text(name) for name in classes]
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
    return figure


def draw_reliability(bins_of: Mapping[str, Sequence[ReliabilityBin]]) -> Figure:
    """Return a reliability diagram: accuracy against confidence for each panel; the diagonal is perfect calibration."""
    figure = Figure(figsize=(6.4, 5.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], ":", color="grey", label="perfect calibration")
    for position, (label, bins) in enumerate(bins_of.items()):
        confidences, accuracies = [part.confidence for part in bins], [part.accuracy for part in bins]
        axes.plot(confidences, accuracies, "o-", color=_colour(position), label=escape_text(label))
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    _finish(axes)
    return figure


def draw_costs(points: Mapping[str, tuple[float, float, float, float]]) -> Figure:
    """Return a figure of accuracy with its interval against training time.

    Args:
        points: for each label: embedding and fit time in seconds, accuracy, lower and upper bound of its interval.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for position, (label, (seconds, accuracy, low, high)) in enumerate(points.items()):
        errors = [[max(accuracy - low, 0.0)], [max(high - accuracy, 0.0)]]
        axes.errorbar(
            [seconds], [accuracy], errors, fmt="o", capsize=4, color=_colour(position), label=escape_text(label)
        )
    axes.set(xlabel="embedding and fit time (s, log scale)", ylabel="test accuracy", xscale="log")
    _finish(axes)
    return figure


def draw_classes(recalls: Mapping[str, Sequence[float]], classes: Sequence[str]) -> Figure:
    """Return a bar chart of the recall of each class and panel; class names are left out where there are many."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(recalls)
    for position, (label, values) in enumerate(recalls.items()):
        places = np.arange(len(classes)) + (position + 0.5) * width - 0.4
        axes.bar(places, values, width, color=_colour(position), label=escape_text(label))
    axes.set(xlabel="class", ylabel="recall", ylim=(0, 1.02))
    # Bars fill the axes, so the legend is placed above them.
    figure.legend(loc="outside upper center", ncols=min(len(recalls), LEGEND_COLUMNS), frameon=False, fontsize="small")
    if len(classes) <= LABELLED_CLASSES:
        axes.set_xticks(range(len(classes)), [escape_text(name) for name in classes], rotation=45, ha="right")
    _finish(axes, legend=False)
    return figure


def _colour(position: int) -> str:
    return COLOURS[position % len(COLOURS)]


def _finish(axes: Any, *, legend: bool = True) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(frameon=False, fontsize="small")
