"""The nights of a board as Vega-Lite specifications, along one axis of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from triptych.evaluation.charts.vega import Spec, axis, colour
from triptych.evaluation.history.changes import KINDS, Change
from triptych.evaluation.history.nights import Night

HEIGHT, SMALL_HEIGHT, ROW_HEIGHT = 260, 150, 20
# With more nights, points would hide their line.
MOST_POINTS = 60
# A panel that is less than so many times as accurate as the best would flatten the others.
COMPARABLE = 0.5
# All charts of a page have their left edge in one place.
EXTENT = {"minExtent": 56, "maxExtent": 56}
# Vega's own hours are those of a clock with twelve, and its minutes do not say which half of the day they are in.
CLOCK = {"format": {"hours": "%H:%M", "minutes": "%H:%M"}}
# Neither of them is the colour of a panel.
ALARM, NEUTRAL = "#E00000", "#8a8a8a"
PARTS = {"train": [1, 0], "validation": [6, 4], "test": [2, 2]}


def choose_shown(nights: Sequence[Night]) -> list[str]:
    """Return the panels that are drawn, those of the last night first; one that hardly learns would flatten the others.

    >>> choose_shown([])
    []
    """
    best: dict[str, float] = {}
    for one in (one for night in reversed(nights) for one in night.panels):
        best[one.panel] = max(one.accuracy, best.get(one.panel, 0.0))
    return [panel for panel, accuracy in best.items() if accuracy >= COMPARABLE * max(best.values())]


def chart_accuracies(
    nights: Sequence[Night], changes: Sequence[Change], colours: Mapping[str, str], width: int
) -> Spec:
    """Return the accuracy of each panel, night by night, with its interval; below it what happened, on the same axis.

    Args:
        nights: of the board, in order.
        changes: what happened in them.
        colours: the colour of each panel that is drawn.
        width: of the chart in pixels.
    """
    rows = _list_rows(nights, colours)
    time, y = _time(nights), _axis("accuracy")
    shared = {"x": time, "color": colour(colours)}
    worse = {change.night.comparison for change in changes if change.kind == "worse"}
    band = {"type": "area", "opacity": 0.12, "aria": False}
    drawn = {
        "width": width,
        "height": HEIGHT,
        "data": {"values": rows},
        "layer": [
            {"mark": band, "encoding": {**shared, "y": {**y, "field": "low"}, "y2": {"field": "high"}}},
            {"mark": _line(nights), "encoding": {**shared, "y": y}},
            {
                "data": {"values": [{"time": night.time.isoformat()} for night in nights if night.comparison in worse]},
                "mark": {"type": "rule", "color": ALARM, "strokeDash": [4, 3], "aria": False},
                "encoding": {"x": time},
            },
        ],
    }
    return {"vconcat": [drawn, _strip(nights, changes, width)], "spacing": 12}


def _strip(nights: Sequence[Night], changes: Sequence[Change], width: int) -> Spec:
    happened = {change.kind for change in changes}
    kinds = [name for kind, name in KINDS.items() if kind in happened]
    rows = [
        {
            "time": change.night.time.isoformat(),
            "kind": KINDS[change.kind],
            "text": f"{change.night.date}: {change.text}",
            "bad": change.kind in {"worse", "failure"},
        }
        for change in changes
    ]
    ink = {"condition": {"test": "datum.bad", "value": ALARM}, "value": NEUTRAL}
    return {
        "width": width,
        "height": ROW_HEIGHT * max(1, len(kinds)),
        "data": {"values": rows},
        "mark": {"type": "tick", "thickness": 2, "size": 14, "tooltip": None},
        "encoding": {
            "x": {**_time(nights), "axis": None},
            "y": {"field": "kind", "type": "nominal", "sort": kinds, "title": None, "axis": EXTENT},
            "color": ink,
            "description": {"field": "text"},
        },
    }


def chart_quantity(nights: Sequence[Night], colours: Mapping[str, str], field: str, width: int) -> Spec:
    """Return the log loss or the seconds of each panel, night by night; seconds on a logarithmic scale.

    Args:
        nights: of the board, in order.
        colours: the colour of each panel that is drawn.
        field: "log_loss" or "seconds".
        width: of the chart in pixels.
    """
    logarithmic: dict[str, Any] = {"grid": False, "scale": {"type": "log", "nice": False}}
    y = _axis(field, **(logarithmic if field == "seconds" else {}))
    return {
        "width": width,
        "height": SMALL_HEIGHT,
        "data": {"values": _list_rows(nights, colours)},
        "mark": _line(nights),
        "encoding": {"x": _time(nights), "y": y, "color": colour(colours)},
    }


def chart_images(nights: Sequence[Night], width: int) -> Spec:
    """Return the number of images of each part, night by night."""
    rows = [
        {"time": night.time.isoformat(), "part": part, "images": night.images[part]}
        for night in nights
        for part in PARTS
        if night.images.get(part)
    ]
    last = {row["part"]: row for row in rows}
    dash = {
        "field": "part",
        "type": "nominal",
        "scale": {"domain": [*PARTS], "range": [*PARTS.values()]},
        "legend": None,
    }
    shared = {"x": _time(nights), "y": _axis("images", scale={"zero": True})}
    return {
        "width": width,
        "height": SMALL_HEIGHT,
        "layer": [
            {
                "data": {"values": rows},
                "mark": {"type": "line", "interpolate": "step-after", "color": NEUTRAL},
                "encoding": {**shared, "strokeDash": dash},
            },
            {
                "data": {"values": [*last.values()]},
                "mark": {"type": "text", "align": "right", "dy": -7, "color": NEUTRAL},
                "encoding": {**shared, "text": {"field": "part"}},
            },
        ],
    }


def _axis(field: str, *, grid: bool = True, **more: Any) -> dict[str, Any]:
    """Return the encoding of numbers on an axis as wide as the others; the caption says what they are."""
    return axis(field, "", axis={**EXTENT, "grid": grid}, **more)


def _time(nights: Sequence[Night]) -> dict[str, Any]:
    ends = [night.time.isoformat() for night in (nights[0], nights[-1])]
    return {"field": "time", "type": "temporal", "title": None, "scale": {"domain": ends}, "axis": CLOCK}


def _line(nights: Sequence[Night]) -> dict[str, Any]:
    few = len(nights) <= MOST_POINTS
    return {"type": "line", "strokeWidth": 2 if few else 1, "point": {"size": 25} if few else False}


def _list_rows(nights: Sequence[Night], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "time": night.time.isoformat(),
            "panel": one.panel,
            "accuracy": round(one.accuracy, 5),
            "low": round(one.low, 5),
            "high": round(one.high, 5),
            "log_loss": max(one.log_loss, 1e-6),
            "seconds": max(one.seconds, 1e-3),
        }
        for night in nights
        for one in night.panels
        if one.panel in colours
    ]
