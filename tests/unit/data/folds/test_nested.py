from __future__ import annotations

import numpy as np
import pytest

from triptych.data.folds.nested import draw_nested

SIZES = [20, 50, 100, 200]


@pytest.mark.parametrize("group_size", [1, 4])
def test_subsets_are_nested_and_stratified_and_keep_groups_together(group_size: int) -> None:
    labels = np.repeat([0, 1, 2], [120, 60, 20])
    groups = None if group_size == 1 else np.arange(200) // group_size
    subsets = draw_nested(labels, groups, SIZES, np.random.default_rng(0))
    for size, smaller, subset in zip(SIZES, [np.empty(0), *subsets], subsets, strict=False):
        assert size - group_size < len(subset) <= size
        assert np.isin(smaller, subset).all()
        shares = np.bincount(labels[subset], minlength=3) / len(subset)
        assert np.abs(shares - [0.6, 0.3, 0.1]).max() < 0.12
        if groups is not None:
            assert (np.bincount(groups[subset])[np.unique(groups[subset])] == group_size).all()


def test_each_draw_has_other_images() -> None:
    labels = np.repeat([0, 1], 50)
    first, second = (draw_nested(labels, None, [20], np.random.default_rng(seed))[0] for seed in (0, 1))
    assert set(first.tolist()) != set(second.tolist())
