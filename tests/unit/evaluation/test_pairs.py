from __future__ import annotations

import numpy as np

from triptych.evaluation.pairs import compare_pairs, decide


def number(repeats: np.ndarray) -> dict[int, np.ndarray]:
    return dict(enumerate(repeats))


def test_the_verdict_names_the_winner_and_whose_difference_could_be_chance() -> None:
    right = np.ones((1, 200), dtype=bool)
    near, far = right.copy(), right.copy()
    near[0, :2] = False
    far[0, :60] = False
    pairs = compare_pairs(
        {"best": number(right), "near": number(near), "far": number(far)},
        ["best", "near", "far"],
        0.95,
    )
    assert [pair.separated for pair in pairs] == [False, True, True]
    verdict = decide("best", 1.0, pairs, 200, 0.95)
    assert verdict == (
        "best leads with 1.0000 on 200 test images, "
        "but its lead over near could be chance; it is significantly better than far."
    )
    [won] = compare_pairs({"best": number(right), "far": number(far)}, ["best", "far"], 0.95)
    assert decide("best", 1.0, [won], 200, 0.95).startswith("best wins with 1.0000 on 200 test images, 30.00 points")
    assert "no other panel" in decide("best", 1.0, [], 200, 0.95)
