from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from triptych.evaluation.ensemble.weights import GAP, choose_weights


def measure_loss(weights: np.ndarray, truths: np.ndarray) -> float:
    return -float(np.log(np.maximum(weights @ truths, np.finfo(np.float64).eps)).mean())


def draw_truths(seed: int, panels: int, images: int) -> np.ndarray:
    """Return what panels of different quality give to the true class, all of them less to images that are hard."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(panels, images)) * rng.uniform(0.5, 3.0, size=(panels, 1)) + rng.normal(size=images)
    return 1.0 / (1.0 + np.exp(-logits - rng.normal(size=(panels, 1))))


@pytest.mark.parametrize(("seed", "panels", "images"), [(0, 2, 40), (1, 3, 51), (2, 5, 252), (3, 8, 1000), (4, 4, 3)])
def test_weights_are_those_of_a_general_optimiser_and_no_panel_alone_is_better(
    seed: int, panels: int, images: int
) -> None:
    truths = draw_truths(seed, panels, images)
    weights = choose_weights(truths)
    assert weights.min() >= 0.0
    assert weights.sum() == pytest.approx(1.0)
    found = minimize(
        measure_loss,
        np.full(panels, 1.0 / panels),
        truths,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * panels,
        constraints={"type": "eq", "fun": lambda given: given.sum() - 1.0},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert measure_loss(weights, truths) <= found.fun + GAP
    assert weights == pytest.approx(found.x, abs=0.01)
    alone = [measure_loss(one, truths) for one in np.eye(panels)]
    assert measure_loss(weights, truths) <= min(alone) + GAP


def test_equal_panels_share_a_weight_and_one_that_knows_nothing_has_none() -> None:
    first, second = draw_truths(0, 2, 252)
    apart = choose_weights(np.stack([first, second]))
    assert 0.1 < apart[0] < 0.9
    # Twins differ by rounding.
    together = choose_weights(np.stack([first, first * (1.0 + 1e-7), second, np.full(252, 0.001)]))
    assert together == pytest.approx([apart[0] / 2, apart[0] / 2, apart[1], 0.0], abs=2e-3)
    assert together[0] == pytest.approx(together[1], abs=1e-5)


def test_images_that_every_panel_excludes_do_not_count() -> None:
    truths = draw_truths(1, 3, 100)
    with_zeros = np.concatenate([truths, np.zeros((3, 5))], axis=1)
    assert choose_weights(with_zeros) == pytest.approx(choose_weights(truths), abs=1e-2)
    assert choose_weights(np.zeros((3, 5))).tolist() == pytest.approx([1.0 / 3.0] * 3)
