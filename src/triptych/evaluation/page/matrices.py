"""Confusion matrices as tables of the page: small, readable without a picture, and quick to write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from triptych.evaluation.charts.colours import shorten
from triptych.evaluation.metrics import Confusions

BETTER, WORSE = "better", "worse"
# Of the colour of a difference, in percent: a small one beside a large one is seen, too.
WEAKEST = 15


@dataclass(frozen=True)
class Cell:
    """A cell of a matrix.

    Attributes:
        text: the count; empty for 0, so that the others stand out.
        strength: of its colour, in percent.
        kind: of its colour; empty for a plain count.
    """

    text: str
    strength: int
    kind: str = ""


@dataclass(frozen=True)
class Matrix:
    """A matrix of true classes (rows) and predicted ones (columns).

    Attributes:
        title: what it shows.
        classes: the class names, shortened.
        rows: the cells of each true class.
    """

    title: str
    classes: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def tabulate_confusions(counts: Confusions, classes: Iterable[str], title: str) -> Matrix:
    """Return a confusion matrix, coloured by the fraction of each true class.

    Args:
        counts: sparse (classes, classes) int64, rows are true classes, columns predicted ones.
        classes: the class names.
        title: of the matrix.

    >>> from scipy.sparse import csr_array
    >>> tabulate_confusions(csr_array([[3, 1], [0, 2]]), ["ant", "bee"], "a panel").rows[0]
    [Cell(text='3', strength=75, kind=''), Cell(text='1', strength=25, kind='')]
    """
    matrix = counts.toarray()
    shares = np.rint(100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)).astype(int)
    rows = [
        [Cell(str(count) if count else "", share) for count, share in zip(*row, strict=True)]
        for row in zip(matrix.tolist(), shares.tolist(), strict=True)
    ]
    return Matrix(title, [shorten(name) for name in classes], rows)


def tabulate_difference(first: Confusions, second: Confusions, classes: Iterable[str], title: str) -> Matrix:
    """Return the difference of two confusion matrices, coloured by whether the first is better or worse.

    Args:
        first: sparse (classes, classes) int64, rows are true classes, columns predicted ones.
        second: the same for another panel.
        classes: the class names.
        title: of the matrix.
    """
    difference = (first - second).toarray()
    largest = max(1, int(np.abs(difference).max()))
    rows = [
        [_compare(count, largest, correct=row == column) for column, count in enumerate(counts)]
        for row, counts in enumerate(difference.tolist())
    ]
    return Matrix(title, [shorten(name) for name in classes], rows)


def _compare(count: int, largest: int, *, correct: bool) -> Cell:
    """Return a cell for how many more images there are: more are better if they are correct, and worse if not."""
    if not count:
        return Cell("", 0)
    sign = "+" if count > 0 else "−"  # noqa: RUF001 - as wide as a plus
    kind = BETTER if (count > 0) == correct else WORSE
    return Cell(f"{sign}{abs(count)}", max(WEAKEST, round(100 * abs(count) / largest)), kind)
