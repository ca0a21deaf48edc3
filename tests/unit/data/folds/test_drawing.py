from __future__ import annotations

import numpy as np
import pytest

from triptych.config.schema import SplitConfig
from triptych.data.folds.drawing import divide_rest, draw_folds, draw_repetition, require_classes
from triptych.data.splits import Split
from triptych.errors import DataError

LABELS = np.repeat([0, 1, 2], [40, 40, 20])
GROUPS = np.arange(100) // 2


def test_each_repetition_has_folds_of_its_own_which_the_seed_determines() -> None:
    first, again, other, later = (
        draw_folds(LABELS, GROUPS, 5, seed=seed, repeat=repeat).tolist()
        for seed, repeat in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert first == again
    assert first != other != later != first
    assert np.bincount(first).tolist() == [20] * 5


def test_validation_is_taken_from_the_images_that_are_not_tested_group_by_group() -> None:
    tested = draw_folds(LABELS, GROUPS, 5, seed=0, repeat=0) == 0
    train, validation = divide_rest(tested, LABELS, GROUPS, 0.25, np.random.default_rng(0))
    assert sorted([*train, *validation, *np.flatnonzero(tested)]) == list(range(100))
    assert not set(GROUPS[train]) & set(GROUPS[validation])
    assert np.bincount(LABELS[validation]).tolist() == [8, 8, 4]


def test_there_may_be_no_validation_part() -> None:
    train, validation = divide_rest(np.arange(100) < 20, LABELS, None, 0.0, np.random.default_rng(0))
    assert train.tolist() == list(range(20, 100))
    assert len(validation) == 0


def test_the_folds_of_a_repetition_test_each_image_once_and_copies_together() -> None:
    ids = np.array([f"{number // 2:032x}" for number in range(100)], dtype="S32")
    whole = Split("whole", GROUPS[:0], GROUPS[:0], np.arange(100))
    settings = SplitConfig(folds=4, validation_fraction=0.2)
    first, again, other = (
        draw_repetition(whole, LABELS, ids, chosen, repeat)
        for chosen, repeat in ((settings, 0), (settings, 0), (settings, 1))
    )
    assert sorted(np.concatenate([fold.test for fold in first]).tolist()) == list(range(100))
    assert [fold.split_id for fold in first] == [f"whole-0.{number}" for number in range(4)]
    for fold in first:
        parts = fold.parts()
        assert parts.tolist() == [part for part in parts[::2] for _ in range(2)]
        assert abs(len(fold.test) - 25) <= 2
    assert [fold.train.tolist() for fold in first] == [fold.train.tolist() for fold in again]
    assert [fold.test.tolist() for fold in first] != [fold.test.tolist() for fold in other]


def test_a_class_that_a_fold_cannot_train_on_is_named() -> None:
    folds = [Split("", np.arange(40, 100), GROUPS[:0], np.arange(40))]
    with pytest.raises(DataError, match="class 'ant' has no image to train on"):
        require_classes(folds, LABELS, ("ant", "bee", "wasp"))
