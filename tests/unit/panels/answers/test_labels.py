from __future__ import annotations

import numpy as np

from triptych.data.boards import BoardData
from triptych.images.gradients import describe_gradients
from triptych.panels.answers.labels import are_small, provide_features


def test_digits_need_no_network(digits: BoardData) -> None:
    assert are_small(digits)
    assert (np.asarray(provide_features(digits, "")) == describe_gradients(digits.pixels)).all()
