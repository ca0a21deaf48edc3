from __future__ import annotations

import numpy as np
import pytest

from triptych.evaluation.labels.suspects import FEW_IMAGES, find_outliers, find_suspects, fit_noise
from triptych.transfer.discriminant import discriminate_out_of_fold

CLASSES, SHARPNESS = 4, 3.0


def draw_labels(images: int, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits that are three times too large, labels of which a share is changed, and which ones."""
    rng = np.random.default_rng(0)
    logits = np.array([3.0, 0.0, 0.0, 0.0])[(np.arange(CLASSES) - rng.integers(0, CLASSES, (images, 1))) % CLASSES]
    logits = logits + rng.normal(size=logits.shape)
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    changed = rng.random(images) < rate
    labels = np.where(changed, (labels + rng.integers(1, CLASSES, images)) % CLASSES, labels)
    return (SHARPNESS * logits).astype(np.float32), labels, changed


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2])
def test_the_temperature_and_the_rate_of_wrong_labels_are_found(rate: float) -> None:
    logits, labels, _ = draw_labels(8_000, rate)
    noise = fit_noise(logits, labels)
    assert noise.rate == pytest.approx(rate, abs=0.02)
    assert noise.temperature == pytest.approx(SHARPNESS, rel=0.1)


def test_labels_are_wrong_with_the_probability_that_is_named() -> None:
    logits, labels, changed = draw_labels(8_000, 0.2)
    found = find_suspects(logits, labels)
    probabilities = [one.probability for one in found]
    assert probabilities == sorted(probabilities, reverse=True)
    assert changed[[one.index for one in found]].mean() == pytest.approx(np.mean(probabilities), abs=0.03)
    assert all(one.label == labels[one.index] != one.suggested for one in found)


def test_a_class_that_cannot_be_judged_is_neither_suspected_nor_suggested() -> None:
    labels = np.array([0] * 20 + [1] * 20 + [2] * (FEW_IMAGES - 1) + [3] * 10)
    logits = 8.0 * np.eye(4)[labels]
    logits[[0, -11]] = [[0.0, 0.0, 8.0, 0.0], [8.0, 0.0, 0.0, 0.0]]
    logits[:, 3] = -np.inf  # a class of one group, which no other fold has
    assert find_suspects(logits, labels) == []


def test_equal_distances_have_no_outliers() -> None:
    assert find_outliers(np.ones(10)) == []


@pytest.mark.parametrize(("images", "dimensions", "classes"), [(80, 1024, 2), (400, 256, 2), (300, 512, 10)])
def test_features_that_say_nothing_suspect_nothing(images: int, dimensions: int, classes: int) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, classes, images)
        rows = rng.normal(size=(images, dimensions)).astype(np.float32)
        logits = discriminate_out_of_fold(rows, labels, classes=classes).logits
        assert find_suspects(logits, labels) == []
