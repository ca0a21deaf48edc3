from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from triptych.evaluation.metrics import (
    count_confusions,
    expected_calibration_error,
    list_confusions,
    measure_calibrated,
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
    counts = count_confusions(labels, probabilities.argmax(axis=1), 3)
    np.testing.assert_array_equal(counts.toarray(), [[1, 0, 0], [1, 1, 0], [0, 0, 1]])


def test_a_class_without_test_images_is_left_out_of_macro_f1() -> None:
    metrics = measure_probabilities(np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]), calibration_bins=15)
    assert metrics["test_accuracy"] == metrics["test_macro_f1"] == 1.0
    # An image that is taken for one of the absent class is an error of its own class.
    mistaken = measure_probabilities(np.array([0, 0]), np.array([[0.9, 0.1], [0.2, 0.8]]), calibration_bins=15)
    assert mistaken["test_macro_f1"] == pytest.approx(2 / 3)


def test_a_sure_and_right_network_is_calibrated() -> None:
    assert expected_calibration_error(np.ones(2), np.ones(2, dtype=bool), bins=15) == 0.0


def test_brier_and_classes_by_hand() -> None:
    labels, probabilities = np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.6, 0.4], [0.0, 1.0]])
    assert measure_probabilities(labels, probabilities, 15)["test_brier"] == pytest.approx((0.08 + 0.72 + 0.0) / 3)
    first, second = measure_classes(labels, probabilities.argmax(axis=1), 2)
    assert (first["precision"], first["recall"], first["images"]) == (0.5, 1.0, 1.0)
    assert (second["precision"], second["recall"], second["images"]) == (1.0, 0.5, 2.0)


@pytest.mark.parametrize(("images", "classes"), [(540, 10), (153, 2), (1, 5), (1001, 333)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_metrics_are_those_of_all_rows_at_once_to_the_last_bit(images: int, classes: int, dtype: type) -> None:
    rng = np.random.default_rng(images)
    labels = rng.integers(0, classes, images)
    probabilities = softmax(3.0 * rng.normal(size=(images, classes)), axis=1).astype(dtype)
    probabilities[0] = np.eye(classes)[(labels[0] + 1) % classes]
    metrics = measure_probabilities(labels, probabilities, 15) | measure_calibrated(labels, probabilities, 1.7, 15)
    scaled = softmax(np.log(np.maximum(probabilities.astype(np.float64), 1e-12)) / 1.7, axis=1)
    for name, given in {"": probabilities.astype(np.float64), "_calibrated": scaled}.items():
        exact = given / given.sum(axis=1, keepdims=True)
        assert metrics[f"test_log_loss{name}"] == log_loss(labels, exact, labels=np.arange(classes))
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    assert metrics["test_brier"] == ((exact - np.eye(classes)[labels]) ** 2).sum(axis=1).mean()


def test_a_matrix_of_many_classes_is_listed_by_its_cells() -> None:
    labels, predicted = np.array([150, 3, 3, 0]), np.array([150, 7, 7, 0])
    listed = list_confusions(count_confusions(labels, predicted, 200))
    assert listed == {"true": [0, 3, 150], "predicted": [0, 7, 150], "images": [1, 2, 1]}
    assert len(list_confusions(count_confusions(labels % 10, predicted % 10, 10))["counts"]) == 10
