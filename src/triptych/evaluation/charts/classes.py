"""Charts about classes: recall and confusions. Of many classes they show those that matter most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from triptych.evaluation.charts.colours import shorten
from triptych.evaluation.charts.vega import Spec, axis, colour, shape
from triptych.evaluation.metrics import Confusions

# With more classes than this, a matrix or a row for each class would be too large to read.
SHOWN_CLASSES = 20
# Of more classes, the pairs that are shown, and how many of the worst and of the best classes.
SHOWN_PAIRS, EXTREMES = 20, 10
CELL, ROW_HEIGHT = 30, 20
# What every object of JavaScript has: Vega finds it where it looks for a class of that name, and draws nothing.
MEMBERS = frozenset(
    (
        *("constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString"),
        *("valueOf", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__", "__proto__"),
    )
)


def chart_recalls(
    recalls: Mapping[str, Sequence[float]], classes: Sequence[str], colours: Mapping[str, str], best: float
) -> Spec:
    """Return the recall of each class and panel as a point; of many classes, of the worst and the best.

    Args:
        recalls: for each label the recall of each class, NaN where no test image shows it.
        classes: the class names.
        colours: the colour of each label.
        best: the accuracy of the best panel: those that are less than half as accurate are left out.
    """
    values = np.array([*recalls.values()], dtype=np.float64)
    shown = list(range(len(classes)))
    if len(classes) > SHOWN_CLASSES:
        shown = _choose_extremes(values.mean(axis=0))
    names = _name_apart([classes[number] for number in shown])
    rows = [
        {"panel": label, "class": name, "recall": round(recall, 4), "text": f"{label}, {name}: {recall:.3f}"}
        for label, row in recalls.items()
        if np.nanmean(row) >= best / 2
        for name, recall in zip(names, (row[number] for number in shown), strict=True)
        if isfinite(recall)
    ]
    y = {"field": "class", "type": "nominal", "sort": names, "title": None, "axis": {"grid": True, "labelLimit": 120}}
    return {
        "height": ROW_HEIGHT * max(1, len(names)),
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 0.8},
        "encoding": {
            "y": y,
            "yOffset": {"field": "panel", "type": "nominal", "sort": [*recalls]},
            "x": axis("recall", "recall"),
            "color": colour(colours),
            "shape": shape(colours),
            "description": {"field": "text"},
        },
    }


def _name_apart(names: Sequence[str]) -> list[str]:
    """Return names as an axis shows them, numbered where two would be the same.

    >>> _name_apart(["ant", "ant", "constructor"])
    ['ant', 'ant (2)', 'constructor ']
    """
    short = [f"{name} " if name in MEMBERS else name for name in map(shorten, names)]
    return [
        name if (before := short[:place].count(name)) == 0 else f"{name} ({before + 1})"
        for place, name in enumerate(short)
    ]


def chart_confusions(counts: Confusions, classes: Sequence[str], title: str) -> Spec:
    """Return a confusion matrix, coloured by the fraction of each true class; of many classes, the most confused pairs.

    Args:
        counts: sparse (classes, classes) int64, rows are true classes, columns predicted ones.
        classes: the class names.
        title: of the chart.
    """
    if len(classes) > SHOWN_CLASSES:
        return _chart_pairs(counts, classes, title)
    matrix = counts.toarray()
    names = _name_apart(classes)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    rows = [
        {"true": names[true], "predicted": names[predicted], "images": images, "share": float(shares[true, predicted])}
        for (true, predicted), images in np.ndenumerate(matrix.astype(object))
    ]
    x = {"field": "predicted", "type": "nominal", "sort": names, "axis": {"labelAngle": -45}}
    places = {"x": x, "y": {"field": "true", "type": "nominal", "sort": names}}
    share = {"field": "share", "type": "quantitative", "scale": {"scheme": "blues", "domain": [0, 1]}, "legend": None}
    ink = {"condition": {"test": "datum.share > 0.5", "value": "white"}, "value": "black"}
    return {
        "title": title,
        "width": {"step": CELL},
        "height": {"step": CELL},
        "data": {"values": rows},
        "layer": [
            {"mark": "rect", "encoding": {**places, "color": share}},
            {
                "transform": [{"filter": "datum.images > 0"}],
                "mark": "text",
                "encoding": {**places, "text": {"field": "images"}, "color": ink},
            },
        ],
    }


def _chart_pairs(counts: Confusions, classes: Sequence[str], title: str) -> Spec:
    pairs = list_confused(counts)
    rows = [
        {"pair": f"{number}. {shorten(classes[true])} → {shorten(classes[predicted])}", "images": images}
        for number, (true, predicted, images) in enumerate(pairs[:SHOWN_PAIRS], start=1)
    ]
    about = f"the {len(rows)} largest of {len(pairs):,} confused pairs, true → predicted"
    return {
        "title": {"text": title, "subtitle": about},
        "width": 400,
        "height": ROW_HEIGHT * max(1, len(rows)),
        "data": {"values": rows},
        "mark": "bar",
        "encoding": {
            "y": {"field": "pair", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 380}},
            "x": {"field": "images", "type": "quantitative", "axis": {"tickMinStep": 1, "format": "d"}},
        },
    }


def list_confused(counts: Confusions) -> list[tuple[int, int, int]]:
    """Return the pairs of true and predicted class that are confused, with their images, the most images first.

    Of equal ones those come first whose classes come first.

    Args:
        counts: sparse (classes, classes) int64, rows are true classes, columns predicted ones.

    >>> from scipy.sparse import csr_array
    >>> list_confused(csr_array([[3, 1], [2, 2]]))
    [(1, 0, 2), (0, 1, 1)]
    """
    pairs = coo_array(counts)
    wrong = (pairs.row != pairs.col) & (pairs.data != 0)
    true, predicted, images = pairs.row[wrong], pairs.col[wrong], pairs.data[wrong]
    order = np.lexsort((predicted, true, -images))
    return list(zip(true[order].tolist(), predicted[order].tolist(), images[order].tolist(), strict=True))


def _choose_extremes(recall: NDArray[np.float64]) -> list[int]:
    """Return the classes with the lowest and the highest recall, the lowest first, without those that have none.

    >>> _choose_extremes(np.array([0.5, np.nan, 0.25]))
    [2, 0]
    """
    order: list[int] = np.argsort(recall, kind="stable")[: int(np.isfinite(recall).sum())].tolist()
    return order if len(order) <= 2 * EXTREMES else [*order[:EXTREMES], *order[-EXTREMES:]]
