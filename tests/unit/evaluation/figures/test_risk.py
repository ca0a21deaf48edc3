from __future__ import annotations

import io

import numpy as np

from triptych.evaluation.figures.risk import POINTS, draw_risk
from triptych.evaluation.predictions import Predictions


def test_a_line_ends_at_the_accuracy_on_all_images() -> None:
    rng = np.random.default_rng(0)
    labels, first = rng.integers(0, 2, 901), rng.random(901)
    one = Predictions(np.arange(901), labels, np.stack([first, 1 - first], axis=1))
    wrong = Predictions(np.arange(901), 1 - one.predicted, one.probabilities)
    constant = Predictions(np.arange(901), labels, np.full((901, 2), 0.5))
    panels = {"5 $ panel": one, "never right": wrong, "constant": constant}
    figure = draw_risk(panels, dict.fromkeys(panels, "red"))
    figure.savefig(io.BytesIO(), format="png")
    line, point = figure.axes[0].lines
    assert (point.get_marker(), np.asarray(point.get_xydata()).tolist()) == ("o", [[1.0, constant.correct.mean()]])
    points = np.asarray(line.get_xydata())
    assert tuple(points[-1]) == (1.0, one.correct.mean())
    assert len(points) <= 2 * POINTS
