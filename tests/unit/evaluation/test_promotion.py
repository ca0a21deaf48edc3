from __future__ import annotations

import numpy as np
import pytest

from triptych.config.schema import PromoteConfig
from triptych.evaluation.promotion import Match, is_cheaper, judge, judge_first

BUDGET = 0.05
BETTER = PromoteConfig()
CHEAPER = PromoteConfig(rule="not-worse-and-cheaper", margin=0.02)


def match(images: int, *, wins: int = 0, losses: int = 0, groups: np.ndarray | None = None) -> Match:
    """Return a match in which both models are wrong on the other images."""
    challenger, champion = np.zeros(images, dtype=bool), np.zeros(images, dtype=bool)
    challenger[:wins], champion[wins : wins + losses] = True, True
    return Match(challenger, champion, groups)


def test_a_better_challenger_is_promoted_and_what_that_spends_is_said() -> None:
    promotion = judge(match(252, wins=15, losses=3), match(540, wins=27, losses=7), BUDGET, BETTER)
    assert promotion.promoted
    assert promotion.opened
    assert 0.0 < promotion.spent <= BUDGET
    assert "+3.70 points against the champion on 540 test images" in promotion.reason


def test_a_challenger_that_does_not_win_on_validation_does_not_open_the_test_set() -> None:
    promotion = judge(match(252, wins=9, losses=9), match(540, wins=60), BUDGET, BETTER)
    assert (promotion.promoted, promotion.opened, promotion.spent) == (False, False, 0.0)
    assert "+0.00 points against the champion on 252 validation images" in promotion.reason


def test_a_challenger_that_opens_the_test_set_and_fails_spends_as_well() -> None:
    promotion = judge(match(252, wins=15, losses=3), match(540, wins=14, losses=14), BUDGET, BETTER)
    assert (promotion.promoted, promotion.opened) == (False, True)
    assert 0.0 < promotion.spent <= BUDGET


def test_what_is_left_of_the_budget_bounds_what_is_spent() -> None:
    for left in (0.05, 1e-3, 1e-6, 0.0):
        promotion = judge(match(252, wins=30), match(540, wins=8, losses=2), left, BETTER)
        assert promotion.spent <= left


def test_images_of_one_group_are_one_piece_of_evidence() -> None:
    alone = judge(match(252, wins=30), match(540, wins=30), BUDGET, BETTER)
    burst = judge(match(252, wins=30), match(540, wins=30, groups=np.arange(540) // 30), BUDGET, BETTER)
    assert (alone.promoted, burst.promoted) == (True, False)


def test_without_an_image_that_the_champion_has_not_learnt_from_there_is_no_decision() -> None:
    nothing = match(0)
    assert "trained on every test image" in judge(match(9, wins=9), nothing, BUDGET, BETTER).reason
    assert "trained on every validation image" in judge(nothing, match(9, wins=9), BUDGET, BETTER).reason


def test_a_cheaper_challenger_that_is_hardly_worse_is_promoted_by_the_other_rule_alone() -> None:
    validation, test = match(2000, wins=20, losses=21), match(5000, wins=50, losses=52)
    assert judge(validation, test, BUDGET, CHEAPER, cheaper=True).promoted
    assert not judge(validation, test, BUDGET, CHEAPER, cheaper=False).promoted
    assert not judge(validation, test, BUDGET, BETTER, cheaper=True).promoted
    worse = match(5000, wins=50, losses=150)
    assert not judge(validation, worse, BUDGET, CHEAPER, cheaper=True).promoted


@pytest.mark.parametrize(
    ("cost", "own", "theirs", "cheaper"),
    [
        ("parameters", {"parameters": 95}, {"parameters": 100}, False),
        ("model_mebibytes", {"model_mebibytes": 1}, {"model_mebibytes": 2}, True),
        ("predict_seconds", {"predict_images_per_second": 200}, {"predict_images_per_second": 100}, True),
        ("predict_seconds", {"predict_images_per_second": 100}, {"predict_images_per_second": 100}, False),
        ("predict_seconds", {}, {"predict_images_per_second": 100}, False),
    ],
)
def test_cheaper_means_a_tenth_less(cost: str, own: dict[str, float], theirs: dict[str, float], cheaper: bool) -> None:  # noqa: FBT001
    assert is_cheaper(own, theirs, cost) is cheaper


def test_the_first_champion_beats_a_guess_and_no_panel_is_shown_to_be_better() -> None:
    right, guess = np.arange(200) < 180, np.arange(200) % 2 == 0
    first = judge_first(right, guess, {"other": right}, BUDGET, None)
    assert first.promoted
    assert "beats the most frequent class (this training 0.9000 against 0.5000, exact p" in first.reason
    assert "most frequent class" in judge_first(guess, guess, {}, BUDGET, None).reason
    better = judge_first(np.arange(200) < 150, guess, {"other": right, "guess": guess}, BUDGET, None)
    assert not better.promoted
    assert "worse on the test set than other" in better.reason
