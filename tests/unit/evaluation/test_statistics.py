"""The statistics against other implementations and their definitions; `test_trust.py` simulates what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, t, ttest_ind

from triptych.evaluation.statistics import (
    PairedDifference,
    adjust_p_values,
    compare_pair,
    measure_clustering,
    predict_order,
    wilson_interval,
)

TABLES = 50


def draw_panels(seed: int, repeats: int, images: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Return which images the repeats of two panels classify correctly; difficult images are difficult for both."""
    rng = np.random.default_rng(seed)
    easy = rng.beta(8.0, 1.0, images)
    shift = 0.05 * rng.standard_normal((2, repeats, 1))
    first, second = rng.random((2, repeats, images)) < easy + shift
    return first, second


def excludes_zero(paired: PairedDifference, level: float) -> bool:
    low, high = paired.interval(1.0 - level)
    return low > 0.0 or high < 0.0


def test_wilson_is_its_closed_form() -> None:
    for seed in range(TABLES):
        rng = np.random.default_rng(seed)
        images = int(rng.integers(1, 2000))
        right = int(rng.integers(0, images + 1))
        z, share = 1.959963984540054, right / images
        centre = (share + z**2 / (2 * images)) / (1 + z**2 / images)
        half = z / (1 + z**2 / images) * np.sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
        assert wilson_interval(right, images, 0.95) == pytest.approx((centre - half, centre + half), abs=1e-9)


def test_holm_steps_down() -> None:
    for seed in range(TABLES):
        p_values = np.random.default_rng(seed).random(7) ** 3
        adjusted = adjust_p_values(p_values)
        # By the definition: reject in order until the first that is too large, at every level.
        for level in (0.01, 0.05, 0.2):
            order, rejected = np.argsort(p_values), np.zeros(7, dtype=bool)
            for position, index in enumerate(order):
                if p_values[index] > level / (7 - position):
                    break
                rejected[index] = True
            assert (adjusted <= level).tolist() == rejected.tolist()
        assert (adjusted >= false_discovery_control(p_values) - 1e-12).all(), "Holm is stricter than Benjamini-Hochberg"


@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_interval_and_p_value_agree_at_every_level(repeats: int) -> None:
    for seed in range(10):
        first, second = draw_panels(seed, repeats)
        paired = compare_pair(first, second, 0.95)
        for level in (0.3, 0.05, 0.05 / 21, paired.p_value * 0.999, min(paired.p_value * 1.001, 1.0)):
            assert excludes_zero(paired, level) == (paired.p_value < level)
        assert (paired.low, paired.high) == paired.interval(0.95)
        swapped = compare_pair(second, first, 0.95)
        assert (swapped.difference, swapped.low) == pytest.approx((-paired.difference, -paired.high))
        assert swapped.p_value == pytest.approx(paired.p_value)


def test_one_repeat_is_mcnemars_test_with_an_image_more_on_each_side() -> None:
    for seed in range(TABLES):
        first, second = draw_panels(seed, 1)
        b, c = int((first & ~second).sum()) + 1, int((second & ~first).sum()) + 1
        statistic = (b - c) / np.sqrt(b + c)
        assert compare_pair(first, second, 0.95).p_value == pytest.approx(2 * t.sf(abs(statistic), df=299))


def test_six_images_without_one_the_other_way_are_the_fewest_that_count() -> None:
    right, five, six = (np.arange(540)[None] >= wrong for wrong in (0, 5, 6))
    assert compare_pair(right, five, 0.95).p_value > 0.05 > compare_pair(right, six, 0.95).p_value


def test_the_variance_between_trainings_is_that_of_an_analysis_of_variance() -> None:
    first, second = draw_panels(0, 5)
    paired = compare_pair(first, second, 0.95)
    expected = []
    for panel in (first, second):
        # Mean squares of a two-way layout without replication: between repeats, and what is left.
        residuals = panel - panel.mean(axis=1, keepdims=True) - panel.mean(axis=0) + panel.mean()
        between = 300 * panel.mean(axis=1).var(ddof=1)
        left = (residuals**2).sum() / (4 * 300)
        expected.append(max(between - left, 0.0) / 300 / 5)
    assert paired.spread.seed_variance == pytest.approx(sum(expected))
    differences = first.mean(axis=0) - second.mean(axis=0)
    assert paired.spread.image_variance == pytest.approx(differences.var() / 300 + 2 / (5 * 300) ** 2)


def test_on_very_many_images_only_seeds_count_and_the_test_is_welchs() -> None:
    rng = np.random.default_rng(0)
    share = np.array([[0.95, 0.97, 0.96], [0.91, 0.93, 0.95]])
    first, second = rng.random((2, 3, 400_000)) < share[..., None]
    paired = compare_pair(first, second, 0.95)
    expected = ttest_ind(first.mean(axis=1), second.mean(axis=1), equal_var=False)
    assert paired.p_value == pytest.approx(expected.pvalue, rel=0.01)
    assert (paired.low, paired.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=0.01)


def test_copies_of_an_image_are_no_evidence_where_they_are_one_group() -> None:
    for repeats in (1, 5):
        first, second = draw_panels(3, repeats)
        once = compare_pair(first, second, 0.95)
        four, of_the_other = (np.repeat(panel, 4, axis=1) for panel in (first, second))
        grouped = compare_pair(four, of_the_other, 0.95, np.repeat(np.arange(300), 4))
        assert (grouped.low, grouped.high, grouped.p_value) == pytest.approx((once.low, once.high, once.p_value))
        counted = compare_pair(four, of_the_other, 0.95)
        assert counted.high - counted.low < once.high - once.low
        assert compare_pair(four, of_the_other, 0.95, np.zeros(1200, dtype=np.int64)).p_value == 1.0


def test_more_repeats_show_what_fewer_cannot() -> None:
    right = np.ones((5, 540), dtype=bool)
    worse = right.copy()
    # Each training has eight errors of its own.
    for repeat in range(5):
        worse[repeat, 8 * repeat : 8 * repeat + 8] = False
    p_values = [compare_pair(right[:repeats], worse[:repeats], 0.95).p_value for repeats in (1, 2, 5)]
    assert p_values == sorted(p_values, reverse=True)
    assert p_values[-1] < 1e-6


def test_repeats_of_what_is_not_drawn_are_no_evidence() -> None:
    first, second = draw_panels(1, 1)
    once = compare_pair(first, second, 0.95)
    often = compare_pair(np.repeat(first, 5, axis=0), np.repeat(second, 5, axis=0), 0.95)
    assert (often.low, often.high, often.p_value) == pytest.approx((once.low, once.high, once.p_value))
    assert (once.first_ahead, often.first_ahead) == (None, 0.0)


def test_a_new_training_is_ahead_as_often_as_predicted() -> None:
    rng = np.random.default_rng(0)
    ahead, predicted = [], []
    for _ in range(2000):
        # The difference of the methods is as uncertain as their trainings.
        first, second = rng.normal(rng.normal(0.0, 2.0, (2, 1)), 1.0, (2, 6))
        ahead.append(first[5] > second[5])
        known = first[:5], second[:5]
        variances = known[0].var(ddof=1), known[1].var(ddof=1)
        predicted.append(predict_order(known[0].mean() - known[1].mean(), variances, 5))
    sure = np.array(predicted) > 0.9
    assert sure.sum() > 200
    assert np.mean(np.array(ahead)[sure]) == pytest.approx(np.array(predicted)[sure].mean(), abs=0.03)
    assert predict_order(0.0, (0.0, 0.0), 2) == 0.5


def test_trainings_that_disagree_are_not_alike_because_their_accuracies_are() -> None:
    first = np.ones((2, 540), dtype=bool)
    second = first.copy()
    # Two trainings with ten errors each, none in common.
    second[0, :10] = second[1, 10:20] = False
    assert compare_pair(first, second, 0.95).first_ahead == pytest.approx(0.9, abs=0.05)
    second[1] = second[0]
    assert compare_pair(first, second, 0.95).first_ahead == 1.0


def test_tiny_test_sets_and_equals_show_nothing() -> None:
    for repeats in (1, 3):
        right, wrong = np.ones((repeats, 4), dtype=bool), np.zeros((repeats, 4), dtype=bool)
        assert compare_pair(right, wrong, 0.95).p_value > 0.05
        equal = compare_pair(right, right, 0.95)
        assert (equal.difference, equal.p_value, equal.agree) == (0.0, 1.0, True)
    [single] = np.ones((1, 1, 1), dtype=bool)
    assert compare_pair(single, ~single, 0.95).interval(0.95) == (-1.0, 1.0)
    with pytest.raises(ValueError, match="same repeats"):
        compare_pair(np.ones((1, 40), dtype=bool), np.ones((2, 40), dtype=bool), 0.95)


def test_groups_widen_the_interval_of_an_accuracy_as_fewer_images_would() -> None:
    correct, groups = np.repeat(np.arange(40) % 4 > 0, 5), np.arange(200) // 5
    clustering = measure_clustering(correct.astype(np.float64), groups)
    assert clustering == pytest.approx(5.0)
    assert wilson_interval(150, 200, 0.95, clustering) == wilson_interval(30, 40, 0.95)
    assert measure_clustering(correct.astype(np.float64), None) == 1.0
