from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from triptych.evaluation.gate import choose_lead, choose_share, compare_signs, compare_within_margin


def test_without_groups_it_is_the_exact_mcnemar_test() -> None:
    rng = np.random.default_rng(0)
    for images in rng.integers(1, 80, 50).tolist():
        first, second = rng.random(images) < 0.7, rng.random(images) < 0.5
        test = compare_signs(first, second)
        wins, losses = int((first & ~second).sum()), int((second & ~first).sum())
        assert (test.wins, test.losses) == (wins, losses)
        if wins > losses:
            expected = binomtest(wins, wins + losses, alternative="greater").pvalue
            assert test.p_value == pytest.approx(expected)


def test_with_groups_every_group_has_one_sign() -> None:
    first = np.array([1, 1, 1, 1, 0, 1, 1], dtype=bool)
    second = np.array([0, 0, 0, 0, 1, 0, 1], dtype=bool)
    groups = np.array([0, 0, 0, 1, 2, 2, 3])
    # Margins 3, 1, 0 and 0: of four possible sums, one is at least 4.
    assert compare_signs(first, second, groups).p_value == pytest.approx(0.25)


def test_the_tails_are_those_of_all_signs() -> None:
    margins = np.array([3, 2, 2, 1])
    first, groups = np.ones(margins.sum(), dtype=bool), np.repeat(np.arange(4), margins)
    sums = [int(np.dot(signs, margins)) for signs in product([-1, 1], repeat=4)]
    expected = [np.mean([total >= least for total in sums]) for least in range(9)]
    np.testing.assert_allclose(compare_signs(first, ~first, groups).tails, expected)


@pytest.mark.parametrize("left", [0.05, 0.01, 1e-4])
def test_a_lead_that_promotes_is_as_improbable_as_what_is_spent(left: float) -> None:
    rng = np.random.default_rng(1)
    for images in (1, 5, 12, 40, 200):
        first = rng.random(images) < 0.5
        test = compare_signs(first, ~first)
        lead, spent = choose_lead(test, wanted=left / 3, left=left)
        assert spent <= left
        if spent:
            assert spent == pytest.approx(binomtest((images + lead) // 2, images, alternative="greater").pvalue)


def test_whatever_the_nights_bring_the_shares_sum_to_no_more_than_the_budget() -> None:
    rng = np.random.default_rng(2)
    left = 1.0
    for p_value in rng.random(5000) ** 3:
        left -= left * choose_share(p_value)
    assert 0.0 <= left < 1e-6


def test_the_test_with_a_margin_keeps_its_level_and_counts_groups_once() -> None:
    rng = np.random.default_rng(3)
    images, margin, rejected = 540, 0.02, []
    for _ in range(1000):
        drawn = rng.random(images)
        wins, losses = drawn < 0.02, (drawn >= 0.02) & (drawn < 0.02 + 0.02 + margin)
        rejected.append(compare_within_margin(~losses, ~wins, margin) < 0.05)
    assert np.mean(rejected) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)
    first, second = np.arange(300) >= 10, np.arange(300) < 290
    groups = np.arange(300) // 10
    assert compare_within_margin(first, second, margin, groups) > compare_within_margin(first, second, margin)


def test_a_year_of_equally_good_challengers_hardly_ever_promotes_one() -> None:
    """A cheaper version of `make simulate`: one champion for all nights, validation and test set of fixed images."""
    rng = np.random.default_rng(4)
    years, nights, promoted = 60, 120, 0
    for _ in range(years):
        left, wrong = 0.05, False
        champions = {part: rng.random(images) < 0.95 for part, images in (("validation", 252), ("test", 540))}
        for _ in range(nights):
            challengers = {part: rng.random(len(correct)) < 0.95 for part, correct in champions.items()}
            screen = compare_signs(challengers["validation"], champions["validation"])
            if share := choose_share(screen.p_value):
                test = compare_signs(challengers["test"], champions["test"])
                lead, spent = choose_lead(test, share * left, left)
                left, wrong = left - spent, wrong or test.statistic >= lead
        promoted += wrong
    assert promoted / years <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / years)
