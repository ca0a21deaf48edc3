from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from triptych.evaluation import calibration
from triptych.evaluation.calibration import apply_temperature, bin_confidences, find_calibration_floor, fit_temperature
from triptych.evaluation.metrics import expected_calibration_error

Floats = NDArray[np.floating[Any]]


def find_error(labels: NDArray[np.int64], probabilities: Floats) -> float:
    """Return the expected calibration error with 15 bins."""
    return expected_calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, 15)


def draw_probabilities(rng: np.random.Generator, images: int, classes: int) -> tuple[NDArray[np.int64], Floats]:
    """Return labels, and probabilities that favour them."""
    labels = rng.integers(0, classes, images)
    logits = rng.normal(0.0, 3.0, (images, classes))
    logits[np.arange(images), labels] += 3.0
    return labels, softmax(logits, axis=1)


@pytest.mark.parametrize(("images", "classes"), [(540, 10), (153, 2), (1, 5), (1001, 333)])
def test_a_loss_is_that_of_all_rows_at_once_to_the_last_bit(
    images: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, probabilities = draw_probabilities(np.random.default_rng(images), images, classes)
    losses: list[tuple[float, float]] = []

    def record(loss: Callable[[float], float], **settings: Any) -> Any:
        for temperature in np.geomspace(0.02, 50.0, 7):
            logits = np.log(np.maximum(probabilities, 1e-12))
            whole = log_softmax(logits / np.exp(np.log(temperature)), axis=1)[np.arange(images), labels]
            losses.append((loss(float(np.log(temperature))), -float(whole.mean())))
        return minimize_scalar(loss, **settings)

    monkeypatch.setattr(calibration, "minimize_scalar", record)
    assert 0.02 < fit_temperature(labels, probabilities) < 50.0
    assert len(losses) == 7
    assert [ours for ours, _ in losses] == [scipys for _, scipys in losses]


def test_the_temperature_undoes_what_overconfidence_did() -> None:
    rng = np.random.default_rng(0)
    honest = rng.dirichlet([0.6, 0.6, 0.6], size=20_000)
    labels = (honest.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    overconfident = apply_temperature(honest, 1 / 3)
    assert fit_temperature(labels, honest) == pytest.approx(1.0, abs=0.05)
    assert fit_temperature(labels, overconfident) == pytest.approx(3.0, abs=0.1)
    before = find_error(labels, overconfident)
    after = find_error(labels, apply_temperature(overconfident, 3.0))
    assert before > 0.1
    assert after < 0.02
    assert (apply_temperature(overconfident, 3.0).argmax(axis=1) == honest.argmax(axis=1)).all()


def test_bins_hold_every_image_once() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet([1.0] * 4, size=500)
    labels = rng.integers(0, 4, size=500)
    assert (
        sum(
            part.images
            for part in bin_confidences(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, 10)
        )
        == 500
    )


def test_the_floor_is_the_error_of_a_perfectly_calibrated_model() -> None:
    for images in (100, 540, 5000):
        rng = np.random.default_rng(images)
        honest = rng.dirichlet([0.3, 0.3, 0.3], size=images)
        errors = []
        for _ in range(60):
            labels = (honest.cumsum(axis=1) < rng.random((images, 1))).sum(axis=1)
            errors.append(find_error(labels, honest))
        floor = find_calibration_floor(honest.max(axis=1), 15)
        assert floor == pytest.approx(np.mean(errors), rel=0.1)
        assert floor == find_calibration_floor(honest.max(axis=1), 15)
        overconfident = apply_temperature(honest, 0.4)
        assert find_error(labels, overconfident) > 2 * find_calibration_floor(overconfident.max(axis=1), 15)
