from __future__ import annotations

import numpy as np

from triptych.evaluation.amount.drawing import draw_amounts
from triptych.evaluation.amount.forecast import Amount, Estimate


def test_forecasts_are_dashed_and_continue_what_was_measured() -> None:
    point, later = Estimate(500, 0.9, 0.88, 0.92), Estimate(1000, 0.93, 0.9, 0.95)
    amount = Amount("numpy-mlp", "numpy-mlp", (point,), (later,), (), point, point, 0.95)
    measured, forecast = draw_amounts([amount], {"numpy-mlp": "#0072B2"}).axes[0].get_lines()
    assert np.asarray(measured.get_xdata()).tolist() == [500]
    assert np.asarray(forecast.get_xdata()).tolist() == [500, 1000]
    assert forecast.get_linestyle() == "--"
