from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from triptych.data.folds.dealing import deal_images

IMAGES, FOLDS = 300, 5


def draw_images(seed: int, *, grouped: bool, pure: bool = False) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Return the labels of images of unequally frequent classes, and groups of one class or of several."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, IMAGES, p=[0.6, 0.2, 0.15, 0.05])
    groups = np.where(rng.random(IMAGES) < 0.6, rng.integers(0, 60, IMAGES), 100 + np.arange(IMAGES))
    if pure:
        labels = np.where(groups < 60, groups % 4, labels)
    return labels, groups if grouped else None


def count_images(labels: NDArray[np.int64], parts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack([np.bincount(labels[parts == part], minlength=4) for part in range(parts.max() + 1)])


def deal_by_scikit_learn(labels: NDArray[np.int64], groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    parts = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(splitter.split(labels, labels, groups)):
        parts[test] = number
    return parts


def test_single_images_are_dealt_as_evenly_as_can_be() -> None:
    labels, _ = draw_images(0, grouped=False)
    counts = count_images(labels, deal_images(labels, None, [1 / FOLDS] * FOLDS, np.random.default_rng(0)))
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert np.ptp(counts.sum(axis=1)) <= 1


@pytest.mark.parametrize("pure", [False, True])
def test_groups_stay_together_and_are_as_stratified_as_scikit_learn_has_them(*, pure: bool) -> None:
    for seed in range(2):
        labels, groups = draw_images(seed, grouped=True, pure=pure)
        assert groups is not None
        parts = deal_images(labels, groups, [1 / FOLDS] * FOLDS, np.random.default_rng(seed))
        assert all(len(set(parts[groups == group])) == 1 for group in np.unique(groups))
        expected = count_images(labels, deal_by_scikit_learn(labels, groups, seed)).std(axis=0).mean()
        assert count_images(labels, parts).std(axis=0).mean() <= 1.05 * expected


def test_unequal_shares_get_their_fraction_of_each_class() -> None:
    labels, groups = draw_images(0, grouped=True)
    counts = count_images(labels, deal_images(labels, groups, [0.7, 0.2, 0.1], np.random.default_rng(0)))
    expected = np.outer([0.7, 0.2, 0.1], np.bincount(labels))
    assert np.abs(counts - expected).max() <= 1.5


def test_the_last_image_of_a_class_goes_to_the_largest_part() -> None:
    parts = deal_images(np.array([0, 1, 2]), None, [0.8, 0.2], np.random.default_rng(0))
    assert parts.tolist() == [0, 0, 0]


def test_random_numbers_decide_who_is_where() -> None:
    labels, groups = draw_images(0, grouped=True)
    once, again, other = (
        deal_images(labels, groups, [0.5, 0.5], np.random.default_rng(seed)).tolist() for seed in (0, 0, 1)
    )
    assert once == again != other
