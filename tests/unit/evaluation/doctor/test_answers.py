from __future__ import annotations

from dataclasses import replace

import numpy as np

from helpers.evidence import make_evidence
from triptych.data.boards import BoardData
from triptych.evaluation.doctor.answers import find_small_classes, find_surprising_validation


def test_a_class_with_few_test_images_is_named(digits: BoardData) -> None:
    few = digits.split.test[digits.labels[digits.split.test] != 7]
    rare = digits.split.test[digits.labels[digits.split.test] == 7][:3]
    board = replace(digits, split=replace(digits.split, test=np.concatenate([few, rare])))
    [found] = find_small_classes(make_evidence(board, {"name": "numpy-mlp"}))
    assert found.cause == "there are hardly any test images of 7 (3)"
    assert [*find_small_classes(make_evidence(digits, {"name": "numpy-mlp"}))] == []


def test_validation_and_test_that_differ_by_chance_do_not_surprise(digits: BoardData) -> None:
    """Both parts are drawn from one distribution again and again: a false alarm in a thousand is what is promised."""
    rng = np.random.default_rng(0)
    validation, test = (digits.prepared.sizes[part] for part in ("validation", "test"))
    alarms = 0
    for _ in range(200):
        right = rng.binomial([validation, test], 0.9)
        panel = {"name": "numpy-mlp", "errors": int(test - right[1]), "final_val_accuracy": right[0] / validation}
        alarms += len([*find_surprising_validation(make_evidence(digits, panel))])
    assert alarms <= 1
