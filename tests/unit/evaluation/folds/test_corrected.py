from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from triptych.evaluation.folds.corrected import FoldSpread, compare_folds, find_overlap_effect, measure_overlapping
from triptych.evaluation.statistics import compare_pair

IMAGES, FOLDS = 300, 5


def draw_panels(seed: int, repeats: int, lead: float = 0.15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which images two panels classify correctly, the first more of them, and equally large folds."""
    rng = np.random.default_rng(seed)
    easy = rng.beta(6.0, 2.0, IMAGES)
    first, second = rng.random((2, repeats, IMAGES)) < easy + np.array([lead, 0.0])[:, None, None]
    folds = np.stack([rng.permutation(np.arange(IMAGES) % FOLDS) for _ in range(repeats)])
    return first, second, folds


def list_differences(first: np.ndarray, second: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return the difference in accuracy of each fold of each repetition."""
    return np.array(
        [
            first[repeat, folds[repeat] == fold].mean() - second[repeat, folds[repeat] == fold].mean()
            for repeat in range(len(folds))
            for fold in range(FOLDS)
        ]
    )


@pytest.mark.parametrize(("repeats", "grouped"), [(1, False), (4, False), (1, True), (4, True)])
def test_it_is_the_corrected_t_test_of_nadeau_and_bengio(repeats: int, *, grouped: bool) -> None:
    first, second, folds = draw_panels(0, repeats)
    groups = np.arange(IMAGES) if grouped else None
    paired = compare_folds(first, second, folds, 0.95, groups)
    differences = list_differences(first, second, folds)
    variance = differences.var(ddof=1) * (1.0 / (FOLDS if grouped else FOLDS * repeats) + 60 / 240)
    degrees = len(differences) - 1
    assert isinstance(paired.spread, FoldSpread)
    assert paired.spread.fold_variance == pytest.approx(variance)
    assert paired.repeats == len(differences)
    expected = 2.0 * t.sf(differences.mean() / np.sqrt(variance), degrees)
    assert paired.p_value == pytest.approx(expected, rel=1e-6)
    assert paired.high - paired.low == pytest.approx(2.0 * t.ppf(0.975, degrees) * np.sqrt(variance))


def test_the_interval_excludes_zero_exactly_where_p_is_below_the_level() -> None:
    for seed in range(20):
        paired = compare_folds(*draw_panels(seed, 1 + seed % 3, lead=0.05), 0.95)
        for level in (0.2, 0.05, 0.01):
            low, high = paired.interval(1.0 - level)
            assert (low > 0.0 or high < 0.0) == (paired.p_value < level)


def test_folds_that_differ_by_the_same_few_images_prove_nothing() -> None:
    folds = np.arange(100)[None] % FOLDS
    second = np.ones((1, 100), dtype=bool)
    second[0, :FOLDS] = False  # one image of each fold
    first = np.ones_like(second)
    paired = compare_folds(first, second, folds, 0.95)
    assert measure_overlapping(first.astype(float) - second, folds)[0] == pytest.approx(0.0, abs=1e-20)
    assert paired.p_value == compare_pair(first, second, 0.95).p_value > 0.05
    assert compare_folds(first, first, folds, 0.95).p_value == 1.0


def test_folds_of_unequal_size_count_by_their_images() -> None:
    folds = np.repeat([0, 1], [30, 10])[None]
    values = np.where(folds == 0, 0.2, 0.6)
    # 3/4 of 0.01 and 1/4 of 0.09, times J / (J - 1), times 1/2 + 1
    variance, trainings = measure_overlapping(values, folds)
    assert variance == pytest.approx((0.75 * 0.01 + 0.25 * 0.09) * 2.0 * 1.5)
    assert trainings == 2


def test_the_design_effect_is_that_of_the_corrected_variance() -> None:
    first, _, folds = draw_panels(3, 2)
    accuracy = first.mean()
    alone = accuracy * (1.0 - accuracy) / IMAGES
    assert find_overlap_effect(first, folds) == pytest.approx(
        measure_overlapping(first.astype(float), folds)[0] / alone
    )
    assert find_overlap_effect(np.ones_like(first), folds) == 1.0
