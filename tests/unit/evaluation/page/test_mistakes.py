from __future__ import annotations

import numpy as np
import pytest

from triptych.data.boards import BoardData
from triptych.evaluation.page import mistakes as module
from triptych.evaluation.page.mistakes import collect_mistakes, list_disagreements, list_mistakes
from triptych.evaluation.predictions import Predictions


def answer(data: BoardData, wrong: dict[int, float]) -> Predictions:
    """Return predictions that are wrong in some rows, with these probabilities."""
    test = data.split.test
    labels = data.labels[test]
    probabilities = np.full((len(test), 10), 0.05)
    probabilities[np.arange(len(test)), labels] = 0.55
    for row, confidence in wrong.items():
        probabilities[row] = (1 - confidence) / 9
        probabilities[row, (labels[row] + 1) % 10] = confidence
    return Predictions(test, labels, probabilities)


def test_mistakes_are_listed_with_the_answers_of_all_panels(digits: BoardData) -> None:
    guesses = Predictions(digits.split.test, digits.labels[digits.split.test], np.eye(10)[np.zeros(540, int)])
    one, other = answer(digits, {3: 0.7, 5: 0.9}), answer(digits, {5: 0.8, 7: 0.95})
    found = collect_mistakes(digits, {"one": one, "other": other, "guesses": guesses}, 100_000)
    assert [panel["compared"] for panel in found["panels"]] == [True, True, False]
    # The most certain first; the panel that guesses adds no images.
    rows = [7, 5, 3]
    assert found["images"] == [f"image {digits.split.test[row]}" for row in rows]
    assert found["truths"] == digits.labels[digits.split.test[rows]].tolist()
    assert found["confidences"][:2] == [[550, 900, 700], [950, 800, 550]]
    assert found["answers"][2] == [0, 0, 0]
    assert len(found["pictures"]) == 3
    assert list_disagreements(found, 0, 1) == [0, 2]
    assert list_mistakes(found, 0) == [1, 2]


def test_images_and_pictures_that_do_not_fit_are_counted(digits: BoardData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IMAGES", 2)
    found = collect_mistakes(digits, {"one": answer(digits, {3: 0.7, 5: 0.9, 8: 0.6})}, 250)
    assert (len(found["images"]), found["left_out"], len(found["pictures"])) == (2, 1, 1)


def test_a_perfect_panel_has_no_mistakes(digits: BoardData) -> None:
    found = collect_mistakes(digits, {"one": answer(digits, {})}, 1000)
    assert (found["images"], found["pictures"], list_mistakes(found, 0)) == ([], [], [])
