from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import fisher_exact, norm, ttest_ind

from helpers.nights import IMAGES, make_night, make_nights, make_panel
from triptych.evaluation.history.alarm import FEWEST, find_p_value, find_recent, judge_last
from triptych.evaluation.history.nights import Night


def test_a_panel_that_falls_alarms_alone() -> None:
    nights = [*make_nights(), make_night(20, 440, 513)]
    [alarm] = judge_last(nights)
    assert (alarm.label, alarm.images, alarm.nights) == ("panel-0", IMAGES, 12)
    assert alarm.sentence.startswith(
        "panel-0 is worse than chance explains: 0.8148 on 540 test images, after 0.9502 in"
    )
    assert judge_last(nights[:-1]) == []


@pytest.mark.parametrize(
    "nights",
    [
        [],
        make_nights(nights=FEWEST),
        # Thirty nights of one result are one measurement.
        [*(replace(make_night(0, 513), comparison=str(number)) for number in range(30)), make_night(31, 440)],
        # A drop that lasts without a new result alarms once.
        [*make_nights(), make_night(20, 440, 440), replace(make_night(20, 440, 440), comparison="again")],
        # It fails: that is no drop.
        [*make_nights(), make_night(20)],
        # Nights that go up and down like that anyway.
        [*(make_night(number, 400 + number % 5 * 28) for number in range(30)), make_night(31, 385)],
    ],
    ids=["none", "few", "one result", "again", "failed", "wide"],
)
def test_what_is_no_news_or_chance_does_not_alarm(nights: list[Night]) -> None:
    assert judge_last(nights) == []


def test_the_two_explanations_are_fishers_and_students_tests() -> None:
    recent, tonight = [make_panel("one", correct) for correct in (530, 531, 529, 531, 530, 530)], make_panel("one", 515)
    before = sum(round(one.accuracy * IMAGES) for one in recent)
    table = [[515, IMAGES - 515], [before, len(recent) * IMAGES - before]]
    by_images = fisher_exact(table, alternative="less").pvalue
    assert find_p_value(tonight, recent) == pytest.approx(by_images)
    wide = [make_panel("one", correct) for correct in (520, 540, 525, 538, 515, 536)]
    probits = [norm.ppf((correct + 0.5) / (IMAGES + 1)) for correct in (500, 520, 540, 525, 538, 515, 536)]
    by_nights = ttest_ind(probits[:1], probits[1:], alternative="less").pvalue
    assert find_p_value(make_panel("one", 500), wide) == pytest.approx(by_nights)


def test_recent_results_are_in_order_and_differ() -> None:
    nights = [night for one in make_nights(nights=40) for night in (one, replace(one, comparison=f"{one.comparison}b"))]
    recent = find_recent([*nights, make_night(50, 500)])
    [(panel, results)] = recent.items()
    assert (panel.accuracy, len(results)) == (500 / IMAGES, 30)
    assert all(before.log_loss < after.log_loss for before, after in pairwise(results))


def test_equal_nights_rarely_alarm() -> None:
    rng = np.random.default_rng(0)
    nights = [make_night(number, *rng.binomial(IMAGES, 0.95, 2).tolist()) for number in range(120)]
    assert [end for end in range(120) if judge_last(nights[:end])] == []
