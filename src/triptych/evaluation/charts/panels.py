"""Charts that compare panels: their accuracies, curves, costs, calibration and coverage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, floor, log10
from statistics import fmean
from typing import Any

from triptych.config.names import TORCH_MLP
from triptych.evaluation.abstention.promise import trace_risk
from triptych.evaluation.calibration import ReliabilityBin
from triptych.evaluation.charts.vega import SIZE, Rows, Spec, axis, colour, shape
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import EvaluatedPanel, Standing
from triptych.evaluation.statistics import wilson_interval

Curves = Mapping[str, Sequence[float]]
Colours = Mapping[str, str]

ROW_HEIGHT, SIDE = 30, 260
# A panel that is less than so many times as accurate as the best would flatten the others on an axis.
COMPARABLE = 0.5
# Where the accuracy of the first epochs would flatten the others, the axis begins after this share of the epochs.
LEFT_OUT = 0.25
# With them the axis would be so many times as long.
FLATTENED = 2.0
# An axis with fewer marks could not be read.
FEW_MARKS = 3
# Points of a line, of which more would make the page large.
POINTS = 120
# The few most confident images say little: a single error among ten would rule the axis.
LEAST_COVERAGE = 0.05


def chart_accuracies(standings: Sequence[Standing], panels: Sequence[EvaluatedPanel], colours: Colours) -> Spec:
    """Return a forest plot: the accuracy of each panel with its interval, and each repeat as a small stroke.

    Panels that are less than half as accurate as the best are written at the edge.

    Args:
        standings: the panels, best first.
        panels: every repeat of every panel.
        colours: the colour of each label.
    """
    near = {one.label for one in standings if one.test_accuracy >= COMPARABLE * standings[0].test_accuracy}
    means = [
        {
            "panel": one.label,
            "accuracy": one.test_accuracy,
            "low": one.low,
            "high": one.high,
            "text": f"{one.label}: {one.test_accuracy:.4f}, interval {one.low:.4f} to {one.high:.4f}",
        }
        for one in standings
        if one.label in near
    ]
    far = [
        {"panel": one.label, "text": f"← {one.test_accuracy:.4f}, off this axis"}
        for one in standings
        if one.label not in near
    ]
    repeats = [
        {
            "panel": one.label,
            "accuracy": one.metrics["test_accuracy"],
            "text": f"{one.label} #{one.repeat}: {one.metrics['test_accuracy']:.4f}",
        }
        for one in panels
        if one.label in near
    ]
    layers = _layer_accuracies(means, repeats, far, [one.label for one in standings], colours)
    return {"height": ROW_HEIGHT * len(standings), "width": SIDE, "layer": layers}


def _layer_accuracies(
    means: Rows, repeats: Rows, far: Rows, ranked: Sequence[str], colours: Colours
) -> list[dict[str, Any]]:
    rows = {"grid": True, "domain": False, "ticks": False, "labelLimit": 130}
    y = {"field": "panel", "type": "nominal", "title": None, "sort": ranked, "axis": rows}
    about = {"field": "text", "type": "nominal"}
    shared = {"y": y, "color": colour(colours)}
    x = axis("accuracy", "test accuracy, interval, repeats")
    edge = {"y": y, "x": {"value": 0}, "text": about}
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": means},
            "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.55, "aria": False},
            "encoding": {**shared, "x": axis("low", x["title"]), "x2": {"field": "high"}},
        },
        {
            "data": {"values": repeats},
            "mark": {"type": "tick", "size": 18, "thickness": 1},
            "encoding": {**shared, "x": x, "description": about},
        },
        {
            "data": {"values": means},
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {**shared, "x": x, "shape": shape(colours), "description": about},
        },
        {"data": {"values": far}, "mark": {"type": "text", "align": "left", "dx": 4}, "encoding": edge},
    ]
    return layers if far else layers[:-1]


def chart_curves(
    curves_of: Mapping[str, Sequence[Curves]], colours: Colours, quantity: str, *, legend: bool = False
) -> dict[str, Any] | None:
    """Return the curves of the validation set by epoch, one line for each panel: the mean over its repeats.

    The band is the range over the repeats, the mark the best epoch. Fine lines are the accuracy on the training set.
    A panel that is fitted at once is a level line. Of the twins, which lie on each other, one is dashed.

    Args:
        curves_of: for each panel's label and repeat, the metrics by name (`val_accuracy`, ...), a value each epoch.
        colours: the colour of each label.
        quantity: "accuracy" or "log_loss".
        legend: whether the chart stands alone, without the legend of a page.

    Returns:
        The specification; None where there is no such curve.
    """
    lines = _select(curves_of, f"val_{quantity}")
    if not lines:
        return None
    epochs = max(len(values) for repeats in lines.values() for values in repeats)
    points = [row for label, repeats in lines.items() for row in _average(label, repeats, epochs)]
    best = [_find_best(label, [row for row in points if row["panel"] == label], quantity) for label in lines]
    trained = [
        row
        for label, repeats in _select(curves_of, "train_accuracy").items()
        for row in _average(label, repeats, epochs)
    ]
    if quantity == "accuracy":
        low, _ = _find_domain(points, trained)
        best = [row for row in best if row["value"] >= low]
    return {"layer": _layer_curves(points, best, trained, colour(colours, legend=legend), quantity)}


def chart_training(curves_of: Mapping[str, Sequence[Curves]], colours: Colours) -> Spec | None:
    """Return both charts of `chart_curves` beside each other, with a legend; None where there is no curve."""
    charts = [chart_curves(curves_of, colours, quantity, legend=True) for quantity in ("accuracy", "log_loss")]
    drawn = [chart | SIZE for chart in charts if chart is not None]
    return {"hconcat": drawn} if drawn else None


def _select(curves_of: Mapping[str, Sequence[Curves]], name: str) -> dict[str, list[Sequence[float]]]:
    """Return a curve of each repeat, by the labels that have it."""
    found = {label: [one[name] for one in repeats if one.get(name)] for label, repeats in curves_of.items()}
    return {label: repeats for label, repeats in found.items() if repeats}


def _layer_curves(points: Any, best: Any, trained: Any, panel: Any, quantity: str) -> list[dict[str, Any]]:
    accuracy = quantity == "accuracy"
    x = axis("epoch", "epoch", axis={"tickMinStep": 1, "format": "d"})
    if accuracy:
        y = axis("value", "validation accuracy", scale={"domain": _find_domain(points, trained), "nice": False})
    else:
        y = axis(
            "value", "validation log loss (log scale)", scale={"type": "log", "nice": False}, axis=_mark_decades(points)
        )
    dashes = {"condition": {"test": f"datum.panel === '{TORCH_MLP}'", "value": [6, 4]}, "value": [1, 0]}
    shared = {"x": x, "y": y, "color": panel, "description": {"field": "panel"}}
    band = {"type": "area", "opacity": 0.13, "clip": True, "aria": False}
    fine = {"type": "line", "strokeWidth": 1, "opacity": 0.45, "clip": True}
    bounds = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    about = {"field": "text", "type": "nominal"}
    layers = [
        {"data": {"values": points}, "mark": band, "encoding": {**shared, **bounds}},
        {"data": {"values": trained}, "mark": fine, "encoding": {**shared, "strokeDash": {"value": [1, 2]}}},
        {
            "data": {"values": points},
            "mark": {"type": "line", "strokeWidth": 2, "clip": True},
            "encoding": {**shared, "strokeDash": dashes},
        },
        {
            "data": {"values": best},
            "mark": {"type": "point", "size": 60, "strokeWidth": 2, "opacity": 1},
            "encoding": {
                **shared,
                "shape": {**panel, "scale": {"domain": panel["scale"]["domain"]}},
                "description": about,
            },
        },
    ]
    return layers if accuracy else [layers[0], *layers[2:]]


def _average(label: str, repeats: Sequence[Sequence[float]], epochs: int) -> Iterator[dict[str, Any]]:
    """Yield the mean and the range of some curves at each epoch, of those that have not stopped yet."""
    longest = max(len(values) for values in repeats)
    for epoch in range(1, longest + 1) if longest > 1 else (1, max(2, epochs)):
        now = [values[min(epoch, longest) - 1] for values in repeats if len(values) >= min(epoch, longest)]
        yield {"panel": label, "epoch": epoch, "value": fmean(now), "low": min(now), "high": max(now)}


def _find_best(label: str, points: Sequence[Mapping[str, Any]], quantity: str) -> dict[str, Any]:
    choose = max if quantity == "accuracy" else min
    best = choose(points, key=lambda row: row["value"])
    return {**best, "text": f"{label}, best epoch {best['epoch']}: {best['value']:.4f}"}


def _find_domain(points: Sequence[Mapping[str, Any]], trained: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the ends of the axis of accuracy: a panel that guesses does not set them, nor do poor first epochs."""
    last = max(row["epoch"] for row in points)
    highest = max(row["value"] for row in points)
    compared = [row for row in points if row["value"] >= COMPARABLE * highest]
    high = max(row["high"] for row in (*compared, *trained))
    low, lowest = (
        min((row["low"] for row in compared if row["epoch"] >= first), default=highest)
        for first in (LEFT_OUT * last, 0.0)
    )
    if high - lowest <= FLATTENED * (high - low):
        low = lowest
    room = max(0.02 * (high - low), 0.002)
    return [max(0.0, low - room), min(1.0, high + room)]


def _mark_decades(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the marks of a logarithmic axis: 1, 2 and 5 times each power of ten between the ends of the data.

    Data that lie between two or three of these get Vega's own marks.
    """
    low, high = (choose(row["value"] for row in points) for choose in (min, max))
    powers = range(floor(log10(max(low, 1e-12))), ceil(log10(max(high, 1e-12))) + 1)
    marks = [mark for power in powers for factor in (1, 2, 5) if low <= (mark := float(f"{factor}e{power}")) <= high]
    return {"format": "~g", **({"values": marks} if len(marks) >= FEW_MARKS else {})}


def chart_reliability(bins_of: Mapping[str, Sequence[ReliabilityBin]], colours: Colours, level: float) -> Spec:
    """Return a reliability diagram: accuracy against confidence; the diagonal is perfect calibration.

    The area of a point grows with its images, and the stroke through it is the interval of its accuracy.

    Args:
        bins_of: the bins of each label.
        colours: the colour of each label.
        level: of the intervals.
    """
    points = []
    for label, bins in bins_of.items():
        for one in bins:
            low, high = wilson_interval(round(one.accuracy * one.images), one.images, level)
            text = f"{label}: {one.images} images, confidence {one.confidence:.3f}, accuracy {one.accuracy:.3f}"
            points.append(
                {
                    "panel": label,
                    "confidence": one.confidence,
                    "accuracy": one.accuracy,
                    "low": low,
                    "high": high,
                    "images": one.images,
                    "text": text,
                }
            )
    ends = {"scale": {"domain": [0, 1]}}
    x, y = axis("confidence", "confidence", **ends), axis("accuracy", "accuracy", **ends)
    shared = {"x": x, "color": colour(colours)}
    size = {"field": "images", "type": "quantitative", "legend": None, "scale": {"range": [12, 160]}}
    diagonal = [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]
    return {
        "data": {"values": points},
        "layer": [
            {
                "data": {"values": diagonal},
                "mark": {"type": "line", "strokeDash": [2, 3], "color": "#888", "aria": False},
                "encoding": {"x": x, "y": y},
            },
            {
                "mark": {"type": "rule", "opacity": 0.4, "aria": False},
                "encoding": {**shared, "y": axis("low", "accuracy", **ends), "y2": {"field": "high"}},
            },
            {"mark": {"type": "line", "opacity": 0.6, "aria": False}, "encoding": {**shared, "y": y}},
            {
                "mark": {"type": "point", "filled": True, "opacity": 0.9},
                "encoding": {**shared, "y": y, "size": size, "description": {"field": "text"}},
            },
        ],
    }


def chart_costs(standings: Sequence[Standing], colours: Colours) -> Spec:
    """Return accuracy with its interval against training time, each point with its name, and the Pareto line.

    Args:
        standings: the panels, best first.
        colours: the colour of each label.
    """
    rows: list[dict[str, Any]] = [
        {
            "panel": one.label,
            "seconds": max(1e-3, one.metrics["fit_seconds"] + one.metrics.get("embed_seconds", 0.0)),
            "accuracy": one.test_accuracy,
            "low": one.low,
            "high": one.high,
        }
        for one in standings
        if one.test_accuracy >= COMPARABLE * standings[0].test_accuracy
    ]
    for row in rows:
        row["text"] = f"{row['panel']}: {row['accuracy']:.4f} after {row['seconds']:.2f} s"
    dashed = {"color": "#888", "strokeDash": [4, 3], "aria": False}
    # Those that no panel beats in both: in the order of time, each more accurate than all before it.
    front: list[Mapping[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["seconds"], -row["accuracy"])):
        if not front or row["accuracy"] > front[-1]["accuracy"]:
            front.append(row)
    x = axis("seconds", "embedding and fit time (s, log scale)", scale={"type": "log", "nice": False, "padding": 30})
    y = axis("accuracy", "test accuracy")
    shared = {"x": x, "color": colour(colours)}
    return {
        "data": {"values": rows},
        "layer": [
            {
                "data": {"values": front},
                "mark": {"type": "line", "interpolate": "step-after", **dashed},
                "encoding": {"x": x, "y": y},
            },
            {
                "mark": {"type": "rule", "opacity": 0.45, "strokeWidth": 2, "aria": False},
                "encoding": {**shared, "y": axis("low", "test accuracy"), "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
                "encoding": {**shared, "y": y, "shape": shape(colours), "description": {"field": "text"}},
            },
            {
                "mark": {"type": "text", "dy": -12, "limit": 150},
                "encoding": {"x": x, "y": y, "text": {"field": "panel"}},
            },
        ],
    }


def chart_coverage(predictions: Mapping[str, Predictions], colours: Colours) -> Spec:
    """Return the accuracy of each panel when it answers only the share of images of which it is most confident.

    Panels that are less than half as accurate as the best are left out.

    Args:
        predictions: of every test image, by label.
        colours: the colour of each label.
    """
    best = max(one.correct.mean() for one in predictions.values())
    rows = []
    for label, one in predictions.items():
        if one.correct.mean() < COMPARABLE * best:
            continue
        coverage, accuracy = trace_risk(one.confidence, one.correct)
        every = max(1, len(coverage) // POINTS)
        # From the end, so that the accuracy on all images is on the line.
        for share, value in zip(coverage[::-1][::every], accuracy[::-1][::every], strict=True):
            if share >= LEAST_COVERAGE:
                rows.append({"panel": label, "coverage": float(share), "accuracy": float(value)})
    dashes = {"condition": {"test": f"datum.panel === '{TORCH_MLP}'", "value": [6, 4]}, "value": [1, 0]}
    return {
        "data": {"values": rows},
        "mark": {"type": "line", "point": False},
        "encoding": {
            "x": axis("coverage", "share of test images that are answered", scale={"domain": [0, 1]}),
            "y": axis("accuracy", "accuracy of the answers"),
            "color": colour(colours),
            "strokeDash": dashes,
            "description": {"field": "panel"},
        },
    }
