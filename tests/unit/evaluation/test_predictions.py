from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from triptych.evaluation.predictions import (
    ALL_PROBABILITIES,
    MOST_PROBABLE,
    Predictions,
    load_predictions,
    save_predictions,
    tabulate_mistakes,
    tabulate_predictions,
)


def predict(images: int, classes: int) -> Predictions:
    """Return predictions that are right for about every other image."""
    rng = np.random.default_rng(images)
    labels = rng.integers(0, classes, images)
    probabilities = rng.random((images, classes), dtype=np.float32)
    probabilities[np.arange(images), labels] += rng.random(images, dtype=np.float32)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    ids = np.array([f"{number:032}" for number in range(images)], dtype="S32")
    return Predictions(np.arange(images) + 7, labels, probabilities, ids, tuple(f"class {n}" for n in range(classes)))


def test_probabilities_are_stored_whole_as_long_as_they_are_few(tmp_path: Path) -> None:
    predictions = predict(1000, 30)
    save_predictions(predictions, tmp_path / "file.npz")
    loaded = load_predictions(tmp_path / "file.npz")
    assert loaded.columns is None
    np.testing.assert_array_equal(loaded.probabilities, predictions.probabilities)
    with np.load(tmp_path / "file.npz") as arrays:
        assert set(arrays) == {"indices", "labels", "probabilities", "ids", "classes"}, "as in earlier versions"


def test_of_very_many_probabilities_those_of_the_most_probable_classes_are_stored(tmp_path: Path) -> None:
    predictions = predict(ALL_PROBABILITIES // 1000 + 1, 1000)
    save_predictions(predictions, tmp_path / "file.npz")
    assert (tmp_path / "file.npz").stat().st_size < 0.04 * predictions.probabilities.nbytes
    loaded = load_predictions(tmp_path / "file.npz")
    # Everything that the report, the gate and a later champion need is the same to the last bit.
    for name in ("indices", "labels", "ids", "classes", "predicted", "confidence", "correct"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(predictions, name))
    assert loaded.answers() == predictions.answers()
    assert loaded.columns is not None
    order = np.argsort(-predictions.probabilities, axis=1, kind="stable")[:, :MOST_PROBABLE]
    np.testing.assert_array_equal(loaded.columns, order)
    expected = np.take_along_axis(predictions.probabilities, order, axis=1)
    np.testing.assert_array_equal(loaded.probabilities, expected)


@pytest.mark.parametrize("levels", [1, 2, 3, 10])
def test_of_equally_probable_classes_the_first_ones_are_kept(levels: int) -> None:
    values: NDArray[Any] = np.random.default_rng(levels).integers(0, levels, (200, 50)) / 100.0
    kept = Predictions(np.arange(200), np.zeros(200, dtype=np.int64), values).keep_most_probable()
    np.testing.assert_array_equal(kept.columns, np.argsort(-values, axis=1, kind="stable")[:, :MOST_PROBABLE])
    np.testing.assert_array_equal(kept.predicted, values.argmax(axis=1))


def test_a_small_test_set_is_a_table_of_every_image_and_class() -> None:
    predictions = predict(40, 3)
    table = tabulate_predictions(predictions)
    assert table is not None
    assert list(table)[:4] == ["image", "class", "predicted", "probability of class 0"]
    assert {len(column) for column in table.values()} == {40}
    assert table["image"] == list(range(7, 47))
    assert table["probability of class 1"] == predictions.probabilities[:, 1].astype(np.float64).round(6).tolist()


def test_of_a_large_test_set_the_surest_mistakes_are_a_table() -> None:
    predictions = predict(3000, 200)
    assert tabulate_predictions(predictions) is None
    table = tabulate_mistakes(predictions)
    assert {len(column) for column in table.values()} == {1000}
    sure = table["probability of predicted"]
    assert sure == sorted(sure, reverse=True)
    assert sure[0] == pytest.approx(float(predictions.confidence[~predictions.correct].max()), abs=1e-6)
    for row in (0, 500, 999):
        image = table["image"][row] - 7
        truth = int(predictions.labels[image])
        assert table["class"][row] == f"class {truth}" != table["predicted"][row]
        assert table["probability of class"][row] == pytest.approx(predictions.probabilities[image, truth], abs=1e-6)
        assert (
            table["rank of class"][row]
            == 1 + (predictions.probabilities[image] > predictions.probabilities[image, truth]).sum()
        )
