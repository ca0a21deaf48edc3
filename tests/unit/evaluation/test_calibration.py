from __future__ import annotations

import numpy as np
import pytest

from triptych.evaluation.calibration import apply_temperature, bin_confidences, find_calibration_floor, fit_temperature
from triptych.evaluation.metrics import expected_calibration_error


def test_the_temperature_undoes_what_overconfidence_did() -> None:
    rng = np.random.default_rng(0)
    honest = rng.dirichlet([0.6, 0.6, 0.6], size=20_000)
    labels = (honest.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    overconfident = apply_temperature(honest, 1 / 3)
    assert fit_temperature(labels, honest) == pytest.approx(1.0, abs=0.05)
    assert fit_temperature(labels, overconfident) == pytest.approx(3.0, abs=0.1)
    before = expected_calibration_error(labels, overconfident, 15)
    after = expected_calibration_error(labels, apply_temperature(overconfident, 3.0), 15)
    assert before > 0.1
    assert after < 0.02
    assert (apply_temperature(overconfident, 3.0).argmax(axis=1) == honest.argmax(axis=1)).all()


def test_bins_hold_every_image_once() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet([1.0] * 4, size=500)
    labels = rng.integers(0, 4, size=500)
    assert sum(part.images for part in bin_confidences(labels, probabilities, 10)) == 500


def test_the_floor_is_the_error_of_a_perfectly_calibrated_model() -> None:
    for images in (100, 540, 5000):
        rng = np.random.default_rng(images)
        honest = rng.dirichlet([0.3, 0.3, 0.3], size=images)
        errors = []
        for _ in range(60):
            labels = (honest.cumsum(axis=1) < rng.random((images, 1))).sum(axis=1)
            errors.append(expected_calibration_error(labels, honest, 15))
        floor = find_calibration_floor(honest, 15)
        assert floor == pytest.approx(np.mean(errors), rel=0.1)
        assert floor == find_calibration_floor(honest, 15)
        overconfident = apply_temperature(honest, 0.4)
        assert expected_calibration_error(labels, overconfident, 15) > 2 * find_calibration_floor(overconfident, 15)
