"""Figures about classes: confusions and recall. Of many classes they show those that matter most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.sparse import coo_array

from triptych.evaluation.figures.style import escape_text, finish, shorten
from triptych.evaluation.metrics import Confusions

# With more classes than this, a matrix or a bar for each class would be too small to read.
SHOWN_CLASSES = 20
# Of more classes, the pairs that are shown, and how many of the worst and of the best classes.
SHOWN_PAIRS, EXTREMES = 20, 10
LEGEND_COLUMNS = 4
# Inches that a letter of a name takes beside an axis, and where the name is turned by 45 degrees.
LETTER, LETTER_TURNED = 0.09, 0.06
MORE, FEWER = "#2166AC", "#B2182B"


def draw_confusions(counts: Confusions, classes: Sequence[str], title: str) -> Figure:
    """Return a figure of a confusion matrix, coloured by the fraction of each true class; of the pairs of many classes.

    Args:
        counts: sparse (classes, classes) int64, rows are true classes, columns predicted ones.
        classes: the class names.
        title: of the figure.
    """
    if len(classes) > SHOWN_CLASSES:
        return _draw_pairs(counts, classes, title, "images", "confused pairs")
    matrix = counts.toarray()
    names = [shorten(name) for name in classes]
    figure = _start_matrix(max(map(len, names)))
    axes = figure.subplots()
    axes.set(xlabel="predicted", ylabel="true", title=escape_text(title))
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, interpolation="none")
    figure.colorbar(image, ax=axes, label="fraction of the true class")
    for row, column in np.argwhere(matrix).tolist():
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize="small", color=colour)
    return figure


def _start_matrix(letters: int) -> Figure:
    """Return a figure with room for names of so many letters: matplotlib's own layout takes half of the time."""
    left, bottom = 0.7 + LETTER * letters, 0.6 + LETTER_TURNED * letters
    width, height = left + 5.6, bottom + 4.9
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(left=left / width, bottom=bottom / height, right=1 - 0.3 / width, top=1 - 0.4 / height)
    return figure


def draw_difference(first: Confusions, second: Confusions, classes: Sequence[str], title: str) -> Figure:
    """Return a figure of the pairs of many classes in which two confusion matrices differ most, first minus second.

    Args:
        first: sparse (classes, classes) int64, rows are true classes, columns predicted ones.
        second: the same for another panel.
        classes: the class names.
        title: of the figure.
    """
    return _draw_pairs(first - second, classes, title, "more images (blue) or fewer (red)", "pairs that differ")


def _draw_pairs(counts: Confusions, classes: Sequence[str], title: str, quantity: str, which: str) -> Figure:
    """Return a bar chart of the pairs of classes with the largest counts, by their absolute value."""
    pairs = coo_array(counts)
    wrong = (pairs.row != pairs.col) & (pairs.data != 0)
    true, predicted, images = pairs.row[wrong], pairs.col[wrong], pairs.data[wrong]
    # Of equal ones those first whose classes come first.
    shown = np.lexsort((predicted, true, -np.abs(images)))[:SHOWN_PAIRS]
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    names = [f"{shorten(classes[true[pair]])} → {shorten(classes[predicted[pair]])}" for pair in shown]
    axes.barh(range(len(shown)), images[shown], color=np.where(images[shown] > 0, MORE, FEWER))
    axes.set_yticks(range(len(names)), names, fontsize="small")
    axes.invert_yaxis()
    about = f"the {len(shown)} largest of {len(images):,} {which}, true → predicted"
    axes.set_title(f"{escape_text(title)}\n{about}", fontsize="medium")
    axes.set_xlabel(quantity)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish(axes, legend=False)
    return figure


def draw_classes(recalls: Mapping[str, Sequence[float]], classes: Sequence[str], colours: Mapping[str, str]) -> Figure:
    """Return a bar chart of the recall of each class and panel; of many classes, of the worst and the best.

    Args:
        recalls: for each label the recall of each class, NaN where no test image shows it.
        classes: the class names.
        colours: the colour of each label.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    values = np.array([*recalls.values()], dtype=np.float64)
    shown = list(range(len(classes)))
    if len(classes) > SHOWN_CLASSES:
        shown = _choose_extremes(values.mean(axis=0))
        left_out = len(classes) - len(shown)
        axes.set_title(f"the worst and the best classes by mean recall, without {left_out:,} others", fontsize="medium")
        axes.axvline(len(shown) / 2 - 0.5, color="grey", linestyle=":")
    width = 0.8 / len(recalls)
    for position, label in enumerate(recalls):
        places = np.arange(len(shown)) + (position + 0.5) * width - 0.4
        axes.bar(places, values[position, shown], width, color=colours[label], label=escape_text(label))
    axes.set(xlabel="class", ylabel="recall", ylim=(0, 1.02))
    # Bars fill the axes, so the legend is placed above them.
    figure.legend(loc="outside upper center", ncols=min(len(recalls), LEGEND_COLUMNS), frameon=False, fontsize="small")
    axes.set_xticks(range(len(shown)), [shorten(classes[number]) for number in shown], rotation=45, ha="right")
    finish(axes, legend=False)
    return figure


def _choose_extremes(recall: NDArray[np.float64]) -> list[int]:
    """Return the classes with the lowest and the highest recall, the lowest first, without those that have none.

    >>> _choose_extremes(np.array([0.5, np.nan, 0.25]))
    [2, 0]
    """
    order: list[int] = np.argsort(recall, kind="stable")[: int(np.isfinite(recall).sum())].tolist()
    return order if len(order) <= 2 * EXTREMES else [*order[:EXTREMES], *order[-EXTREMES:]]
