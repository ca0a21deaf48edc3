from __future__ import annotations

import numpy as np

from triptych.data.folds.drawing import divide_rest, draw_folds

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
