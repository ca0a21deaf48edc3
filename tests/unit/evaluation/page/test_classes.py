from __future__ import annotations

import numpy as np

from triptych.evaluation.page.classes import choose_rows, describe_classes
from triptych.evaluation.predictions import Predictions


def predict(labels: np.ndarray, predicted: np.ndarray, classes: int) -> Predictions:
    return Predictions(np.arange(len(labels)), labels, np.eye(classes)[predicted])


def test_counts_are_sums_over_the_repeats_and_measures_of_the_first() -> None:
    labels = np.array([0, 0, 1, 1])
    repeats = [predict(labels, np.array(found), 3) for found in ([0, 1, 1, 1], [0, 0, 1, 1])]
    found = describe_classes({"one": repeats}, ["ant", "bee", "wasp"])
    assert found["support"] == [2, 2, 0]
    assert found["measured"]["one"]["recall"] == [0.5, 1.0, 0.0]
    assert found["measured"]["one"]["precision"] == [1.0, 0.667, 0.0]
    assert found["counts"]["one"] == [[3, 1, 0], [0, 4, 0], [0, 0, 0]]
    assert found["confused"]["one"] == [(0, 1, 1)]
    assert choose_rows(found, "one") == [0, 1, 2]


def test_of_many_classes_the_worst_and_the_best_are_chosen_and_no_matrix() -> None:
    labels = np.repeat(np.arange(100), 2)
    wrong = np.where(np.arange(200) < 30, (labels + 1) % 100, labels)
    found = describe_classes({"one": [predict(labels, wrong, 101)]}, [str(number) for number in range(101)])
    assert found["counts"] == {}
    rows = choose_rows(found, "one")
    assert rows[:10] == list(range(10))
    assert rows[-1] == 99
    assert len(rows) == 20
