from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from triptych.evaluation.history import drift as drift_module
from triptych.evaluation.history.drift import PERMUTATIONS, measure_drift

LABELS = np.arange(160, dtype=np.int64) % 2
ADDED = np.arange(160) >= 120


def draw(shift: float = 0.0, seed: int = 0) -> np.ndarray:
    """Return embeddings of two classes, and others where images were added."""
    values = np.random.default_rng(seed).standard_normal((160, 8)) + 5.0 * LABELS[:, None]
    return np.asarray(values + shift * ADDED[:, None], dtype=np.float32)


def test_other_images_are_far_from_the_earlier_ones() -> None:
    drift = measure_drift("vgg16", draw(shift=2.0), ADDED, LABELS, None, np.random.default_rng(0))
    assert drift is not None
    assert (drift.panel, drift.added, drift.earlier) == ("vgg16", 40, 120)
    assert drift.p_value == 1 / (PERMUTATIONS + 1)
    assert "are unlike the earlier ones of their classes" in drift.sentence
    assert drift == measure_drift("vgg16", draw(shift=2.0), ADDED, LABELS, None, np.random.default_rng(0))


def test_the_distance_is_the_energy_distance_of_the_definition() -> None:
    one_class = np.zeros(160, dtype=np.int64)
    drift = measure_drift("vgg16", draw(1.0)[:40], ADDED[100:140], one_class[:40], None, np.random.default_rng(0))
    assert drift is not None
    new, old = draw(1.0)[20:40], draw(1.0)[:20]
    between = 2 * cdist(new, old).mean()
    assert drift.distance == pytest.approx((between - cdist(new, new).mean() - cdist(old, old).mean()) / between)


def test_more_images_of_one_class_are_no_drift() -> None:
    added = (np.arange(160) >= 80) & (LABELS == 1)
    drift = measure_drift("vgg16", draw(), added, LABELS, None, np.random.default_rng(0))
    assert drift is not None
    assert drift.p_value > 0.05
    assert "are not shown to be unlike the earlier" in drift.sentence


def test_equal_images_are_rarely_far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_module, "PERMUTATIONS", 99)
    found = [
        measure_drift("vgg16", draw(seed=seed), ADDED, LABELS, None, np.random.default_rng(1)) for seed in range(40)
    ]
    p_values = np.array([one.p_value for one in found if one])
    assert len(p_values) == 40
    assert (p_values <= 0.1).mean() <= 0.25
    assert 0.3 < p_values.mean() < 0.7


def test_one_image_of_a_group_is_compared_and_a_group_with_an_earlier_image_is_an_earlier_one() -> None:
    groups = np.arange(160, dtype=np.int64) // 4
    groups[120:124] = 0
    drift = measure_drift("vgg16", draw(), ADDED, LABELS, groups, np.random.default_rng(0))
    assert drift is not None
    assert (drift.added, drift.earlier) == (9, 30)


@pytest.mark.parametrize("added", [np.zeros(160, dtype=np.bool_), np.arange(160) == 5, np.ones(160, dtype=np.bool_)])
def test_too_few_images_have_no_drift(added: np.ndarray) -> None:
    assert measure_drift("vgg16", draw(), added, LABELS, None, np.random.default_rng(0)) is None
