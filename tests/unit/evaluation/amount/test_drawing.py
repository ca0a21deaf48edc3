from __future__ import annotations

from triptych.evaluation.amount.drawing import chart_amounts
from triptych.evaluation.amount.forecast import Amount, Estimate
from triptych.evaluation.charts.vega import draw


def test_forecasts_are_dashed_and_continue_what_was_measured() -> None:
    point, later = Estimate(500, 0.9, 0.88, 0.92), Estimate(1000, 0.93, 0.9, 0.95)
    amount = Amount("numpy-mlp", "numpy-mlp", (point,), (later,), (), point, point, 0.95)
    spec = chart_amounts([amount], {"numpy-mlp": "#0072B2"})
    rows = spec["data"]["values"]
    assert [row["images"] for row in rows if not row["forecast"]] == [500]
    assert [row["images"] for row in rows if row["forecast"]] == [500, 1000]
    drawn = draw(spec, "amounts", "accuracy")
    assert 'stroke-dasharray="5,4"' in drawn
    assert ">1,000<" in drawn
