from __future__ import annotations

import numpy as np
import pytest

from triptych.evaluation.metrics import (
    brier_score,
    count_confusions,
    expected_calibration_error,
    measure_classes,
    measure_probabilities,
)


def test_figures_worked_by_hand() -> None:
    labels = np.array([0, 1, 1, 2])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    metrics = measure_probabilities(labels, probabilities, calibration_bins=10)
    assert metrics["test_accuracy"] == 0.75
    # F1 of the classes: 2/3 (one of two found rightly), 2/3 (one of two found), 1.
    assert metrics["test_macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert metrics["test_log_loss"] == pytest.approx(-np.log([0.8, 0.7, 0.3, 0.8]).mean())
    # Bins: 0.6 (wrong): 0.6; 0.7 (right): 0.3; 0.8 and 0.8 (both right): 0.2 each.
    assert metrics["test_ece"] == pytest.approx((0.6 + 0.3 + 0.2 + 0.2) / 4)
    np.testing.assert_array_equal(count_confusions(labels, probabilities), [[1, 0, 0], [1, 1, 0], [0, 0, 1]])


def test_a_class_without_test_images_is_left_out_of_macro_f1() -> None:
    metrics = measure_probabilities(np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]), calibration_bins=15)
    assert metrics["test_accuracy"] == metrics["test_macro_f1"] == 1.0
    # An image that is taken for one of the absent class is an error of its own class.
    mistaken = measure_probabilities(np.array([0, 0]), np.array([[0.9, 0.1], [0.2, 0.8]]), calibration_bins=15)
    assert mistaken["test_macro_f1"] == pytest.approx(2 / 3)


def test_a_sure_and_right_network_is_calibrated() -> None:
    assert expected_calibration_error(np.array([0, 1]), np.eye(2), bins=15) == 0.0


def test_brier_and_classes_by_hand() -> None:
    labels, probabilities = np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.6, 0.4], [0.0, 1.0]])
    assert brier_score(labels, probabilities) == pytest.approx((0.08 + 0.72 + 0.0) / 3)
    first, second = measure_classes(labels, probabilities.argmax(axis=1), 2)
    assert (first["precision"], first["recall"], first["images"]) == (0.5, 1.0, 1.0)
    assert (second["precision"], second["recall"], second["images"]) == (1.0, 0.5, 2.0)
