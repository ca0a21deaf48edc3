"""What the statistics promise, as `make simulate` measures it, with fewer draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulate import BETTER, DEVIATIONS, Setting, measure_coverage, measure_false_wins, measure_power

DRAWS = 100


@pytest.mark.parametrize("images", [150, 540, 21_000])
def test_equal_panels_rarely_win(images: int) -> None:
    draws = DRAWS if images < 21_000 else 20
    settings = [
        Setting(images=images, repeats=repeats, deviations=deviations)
        for repeats in (2, 5, 10)
        # Alike, and a panel that draws against one that does not.
        for deviations in ((DEVIATIONS[0],) * 2, (DEVIATIONS[2],) * 2, (DEVIATIONS[2], 0.0))
    ]
    rates = measure_false_wins(settings, draws, seed=10)
    assert sum(rates) / len(rates) <= 0.06
    # Four standard errors of the simulation.
    assert max(rates) <= 0.05 + 4.0 * (0.05 * 0.95 / draws) ** 0.5


def test_equal_trained_networks_rarely_win() -> None:
    settings = [Setting(images=images, repeats=1, deviations=(0.0, 0.0)) for images in (150, 540)]
    assert max(measure_false_wins(settings, 5 * DRAWS, seed=11)) <= 0.06


def test_more_repeats_find_more() -> None:
    found = [measure_power(Setting(BETTER, repeats=repeats, own=0.0), DRAWS, seed=12) for repeats in (2, 5, 10)]
    assert found == sorted(found)
    assert found[1] >= 0.9


def test_the_interval_covers_the_difference_over_images_and_seeds() -> None:
    settings = [Setting(BETTER, deviations=(deviation,) * 2) for deviation in DEVIATIONS]
    covered = [measure_coverage(setting, 2 * DRAWS, seed=13) for setting in settings]
    assert 0.93 <= sum(covered) / len(covered) <= 0.975
    # Two trainings say little about their spread, and the interval is wide.
    assert measure_coverage(replace(settings[1], repeats=2), DRAWS, seed=13) >= 0.93
