"""The chart of learning curves: accuracy against the number of training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from triptych.evaluation.amount.forecast import Amount
from triptych.evaluation.charts.vega import Spec, axis, colour


def chart_amounts(amounts: Sequence[Amount], colours: Mapping[str, str]) -> Spec:
    """Return the measured accuracies with their intervals, and their forecasts, dashed.

    Args:
        amounts: the learning curve of each panel.
        colours: the colour of each label.
    """
    points = [
        {
            "panel": amount.label,
            "images": point.images,
            "value": point.value,
            "low": point.low,
            "high": point.high,
            "forecast": forecast,
            "text": f"{amount.label}, {point.images:,} images: {point.value:.4f} ({point.low:.4f} to {point.high:.4f})",
        }
        for amount in amounts
        for forecast, found in ((False, amount.measured), (True, (amount.measured[-1], *amount.forecast)))
        for point in found
    ]
    measured = sorted({point.images for amount in amounts for point in (*amount.measured, *amount.forecast)})
    ticks = {"values": measured, "format": ",d", "labelOverlap": True}
    scale = {"type": "log", "nice": False}
    x = axis("images", "training images (log scale; dashed: forecast)", scale=scale, axis=ticks)
    y = axis("value", "test accuracy")
    kind = {"field": "forecast", "type": "nominal", "legend": None}
    dashes = {**kind, "scale": {"domain": [False, True], "range": [[1, 0], [5, 4]]}}
    shared = {"x": x, "color": colour(colours, legend=True)}
    band = {"y": axis("low", "test accuracy"), "y2": {"field": "high"}, "detail": kind}
    return {
        "width": 520,
        "data": {"values": points},
        "layer": [
            {"mark": {"type": "area", "opacity": 0.13, "aria": False}, "encoding": {**shared, **band}},
            {"mark": {"type": "line", "aria": False}, "encoding": {**shared, "y": y, "strokeDash": dashes}},
            {
                "transform": [{"filter": "!datum.forecast"}],
                "mark": {"type": "point", "filled": True, "opacity": 1},
                "encoding": {**shared, "y": y, "description": {"field": "text"}},
            },
        ],
    }
