from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from triptych.data.boards import BoardData
from triptych.errors import DataError
from triptych.training.examples import select_parts, weigh_examples

LABELS = np.array([0, 0, 0, 2, 1, 0, 1, 0])
# 8 / (3 classes * images of the class): each class has a third of the total.
BALANCED = [8 / 15, 8 / 15, 8 / 15, 8 / 3, 8 / 6, 8 / 15, 8 / 6, 8 / 15]


@pytest.mark.parametrize(
    ("class_weights", "own", "expected"),
    [
        ("balanced", None, BALANCED),
        ("none", [0, 1, 2, 1, 0, 4, 4, 4], [0.0, 0.5, 1.0, 0.5, 0.0, 2.0, 2.0, 2.0]),
        # The weight of the class times the example's own, 15/8 of it: 0, 1, 1, 5, 2.5, 0, 0, 0, with mean 9.5 / 8.
        ("balanced", [0, 1, 1, 1, 1, 0, 0, 0], np.divide([0, 8, 8, 40, 20, 0, 0, 0], 9.5)),
    ],
)
def test_a_weight_is_that_of_the_class_times_the_images_own_with_mean_1(
    class_weights: str, own: list[float] | None, expected: list[float]
) -> None:
    weights = weigh_examples(LABELS, class_weights, None if own is None else np.array(own, dtype=np.float64))
    assert weights == pytest.approx(np.array(expected))


def test_weights_that_are_all_0_are_refused() -> None:
    with pytest.raises(DataError, match="all 8 training images have the weight 0: give some of them a weight above 0"):
        weigh_examples(LABELS, "balanced", np.zeros(8))


def test_only_training_images_have_weights(digits: BoardData) -> None:
    train, validation = select_parts(digits)
    assert validation is not None
    assert train.weights is validation.weights is None
    own = np.arange(len(digits.labels), dtype=np.float64)
    train, validation = select_parts(replace(digits, image_weights=own))
    assert validation is not None
    assert train.weights is not None
    np.testing.assert_allclose(train.weights, digits.split.train / digits.split.train.mean())
    assert validation.weights is None
