from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.data.boards import BoardData
from triptych.data.splits import Split
from triptych.errors import DataError, EvaluationError
from triptych.evaluation.evaluator import (
    Evaluation,
    check_coverage,
    check_numbers,
    evaluate_logged_model,
    keep_present,
)
from triptych.images.sources import FileImages
from triptych.networks.classifiers.most_frequent import MostFrequent
from triptych.networks.saved import PixelNetwork, ServedModel
from triptych.panels.reference import ReferencePredictions
from triptych.system.checked import hash_file

PANEL = "most-frequent"
# Digits are 8 x 8 pixels in one channel.
SHAPE = (8, 8, 1)


def evaluate(digits: BoardData, split: Split) -> Evaluation:
    """Evaluate a panel that gives every digit the frequencies of the classes in the training set."""
    data = replace(digits)
    # `split` is cached on the instance, so this one does not read it from the disk.
    data.__dict__["split"] = split
    frequencies = (np.bincount(data.labels[split.train], minlength=10) / len(split.train)).astype(np.float32)
    classifier: Any = MostFrequent(frequencies)
    model = ServedModel(PixelNetwork(classifier, SHAPE), data.prepared.classes)
    indices = split.train[:4]
    reference = ReferencePredictions(indices, np.tile(frequencies, (len(indices), 1)))
    return evaluate_logged_model(model, PANEL, data, reference, None)


def test_every_test_image_is_evaluated_once(digits: BoardData) -> None:
    evaluation = evaluate(digits, digits.split)
    np.testing.assert_array_equal(evaluation.predictions.indices, digits.split.test)
    most_frequent = np.bincount(digits.labels[digits.split.train]).argmax()
    accuracy = (digits.labels[digits.split.test] == most_frequent).mean()
    assert evaluation.metrics["test_accuracy"] == pytest.approx(accuracy)
    assert evaluation.reload_difference == 0.0


def test_a_test_image_that_would_count_twice_is_an_error(digits: BoardData) -> None:
    doubled = replace(digits.split, test=np.sort(np.append(digits.split.test, digits.split.test[0])))
    with pytest.raises(EvaluationError, match="541 predictions for 541 test images, 540 of them different"):
        evaluate(digits, doubled)


def test_a_test_image_without_a_prediction_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="2 predictions for 3 test images, 3 of them different"):
        check_coverage(np.array([1, 4, 6]), np.full((2, 10), 0.1))


def test_a_probability_that_is_no_number_is_an_error() -> None:
    probabilities = np.array([[0.5, 0.5], [np.nan, 0.5], [np.inf, 0.0]])
    with pytest.raises(EvaluationError, match="of 2 of 3 validation images are not finite numbers: train"):
        check_numbers("validation", probabilities)


def test_photos_that_are_gone_or_changed_are_no_reference_and_without_any_one_is_named(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(4)]
    for file in files:
        file.write_bytes(file.name.encode())
    images = FileImages(tuple(files), tuple(map(hash_file, files)))
    reference = ReferencePredictions(np.array([1, 2, 3]), np.eye(3))
    files[1].unlink()
    files[3].write_bytes(b"changed")
    kept = keep_present(reference, images)
    assert (kept.indices.tolist(), kept.probabilities.tolist()) == ([2], [[0.0, 1.0, 0.0]])
    files[2].unlink()
    with pytest.raises(
        DataError, match=r"1\.png cannot be read \(.+\): restore it, or run the same command again without"
    ):
        keep_present(reference, images)
