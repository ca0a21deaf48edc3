"""The figures, all with one look; drawn on `Figure` objects, which threads may do side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CURVE_STYLES = {"train": "--", "val": "-"}
# More classes than this are drawn without numbers and names, which nobody could read.
LABELLED_CLASSES = 20

Curves = Mapping[str, Sequence[float]]


def escape_text(text: str) -> str:
    """Return a text that matplotlib doesn't take for mathematics."""
    return text.replace("$", r"\$")


def draw_curves(curves_of: Mapping[str, Curves]) -> Figure:
    """Return loss and accuracy over the epochs of one or more runs, side by side.

    Args:
        curves_of: for each run's label its metrics by name (`train_loss`, `val_accuracy`, ...), an entry an epoch.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for position, (label, curves) in enumerate(curves_of.items()):
            _draw_run(axes, quantity, label, curves, COLOURS[position % len(COLOURS)])
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[1].legend(frameon=False, fontsize="small")
    return figure


def _draw_run(axes: Any, quantity: str, label: str, curves: Curves, colour: str) -> None:
    for part, style in CURVE_STYLES.items():
        values = curves.get(f"{part}_{quantity}", ())
        if values:
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, style, color=colour, linewidth=1.5, label=escape_text(f"{label}, {part}"))


def draw_confusions(counts: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Return a confusion matrix as a picture.

    Args:
        counts: (classes, classes), rows are true classes, columns predicted ones.
        classes: the class names.
        title: what stands above it.
    """
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, label="share of the true class")
    axes.set(xlabel="predicted", ylabel="true", title=escape_text(title))
    if len(classes) <= LABELLED_CLASSES:
        names = [escape_text(name) for name in classes]
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize="small", color=colour)
    return figure
