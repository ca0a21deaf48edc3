"""What the alarm of a night promises, simulated with the functions that decide.

The images of a board differ in difficulty, which a panel has in all nights, so that its errors are much the same from
night to night.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from measure import Figure
from scipy.stats import norm

from triptych.evaluation.history.alarm import MOST, NIGHTS_OF_A_YEAR, YEARLY_LEVEL, judge_last
from triptych.evaluation.history.nights import FINISHED, Night, PanelNight

PANELS, IMAGES, ACCURACY = 3, 540, 0.95
DAY = 86_400_000
SECTION, DRAWS_OF_A_YEAR = "trust", 10


@dataclass(frozen=True)
class Year:
    """How the nights of a board differ.

    Attributes:
        name: in words.
        deviation: standard deviation of a panel's accuracy between nights, besides that of the test images.
        renewed: the share of the test images that are others in the next night.
        changed: on how many of a hundred nights there is a new result.
    """

    name: str
    deviation: float
    renewed: float
    changed: int = 100


YEARS = (
    Year("other test images every night", 0.0, 1.0),
    Year("other test images and trainings that differ by a point", 0.01, 1.0),
    Year("the same test images, trainings that differ by a point", 0.01, 0.0),
    Year("5 % other test images, trainings that differ by half a point", 0.005, 0.05),
    Year("a new result in one night of ten, on 20 % other test images", 0.003, 0.2, changed=10),
)
# The year, by how many points all panels fall, and how often that should be found in the first night.
DROPS = ((YEARS[0], 5, 0.5), (YEARS[2], 5, 0.2), (YEARS[3], 3, 0.1), (YEARS[3], 5, 0.6))


def draw_nights(rng: np.random.Generator, year: Year, nights: int, drop: float = 0.0) -> list[Night]:
    """Return nights of a board; in the last one all panels are worse by a drop.

    Images differ in difficulty, which all panels and nights share; an image is correct where skill exceeds difficulty.
    """
    threshold = norm.ppf(ACCURACY)
    slope = norm.pdf(threshold)
    easy = np.sqrt(0.8) * rng.standard_normal((PANELS, IMAGES))
    drawn: list[Night] = []
    for number in range(nights):
        last = number == nights - 1
        if drawn and not last and rng.integers(100) >= year.changed:
            drawn.append(replace(drawn[-1], comparison=str(number), started=number * DAY))
            continue
        others = rng.random(IMAGES) < year.renewed
        easy[:, others] = np.sqrt(0.8) * rng.standard_normal((PANELS, int(others.sum())))
        skills = norm.ppf(ACCURACY - drop * last) + year.deviation / slope * rng.standard_normal((PANELS, 1))
        correct = (skills + easy + np.sqrt(0.2) * rng.standard_normal((PANELS, IMAGES)) > 0.0).mean(axis=1)
        panels = tuple(describe_panel(f"panel-{place}", value, rng) for place, value in enumerate(correct))
        week = number // 7
        images = {"train": 1000 + 12 * week, "validation": 252, "test": IMAGES}
        night = Night(str(number), number * DAY, FINISHED, panels, images, data=str(week))
        decision = "refused" if number % 40 else "new"
        champion = f"panel-0 (version {number // 40 + 1})"
        drawn.append(replace(night, decision=decision, champion=champion, reason=f"decided in week {week}"))
    return drawn


def describe_panel(name: str, accuracy: float, rng: np.random.Generator) -> PanelNight:
    """Return what a night measured of a panel."""
    # Exact intervals would take most of the time of a simulation, and nothing here depends on them.
    low, high = accuracy - 0.02, min(1.0, accuracy + 0.02)
    seconds = float(rng.uniform(1.0, 2.0))
    return PanelNight(
        name, name, float(accuracy), float(low), float(high), float(rng.uniform(0.15, 0.2)), seconds, IMAGES, IMAGES
    )


def simulate_false_alarms(year: Year, draws: int, seed: int = 20) -> list[Figure]:
    """Return the share of years without a change that have a false alarm."""
    rng, years = np.random.default_rng(seed), draws // DRAWS_OF_A_YEAR
    wrong = float(np.mean([_has_alarm(draw_nights(rng, year, NIGHTS_OF_A_YEAR)) for _ in range(years)]))
    name = f"a false alarm in a year of nights of {PANELS} panels, {year.name}"
    return [Figure(SECTION, name, wrong, wrong, wrong, YEARLY_LEVEL, at_most=True, seed=seed)]


def _has_alarm(nights: list[Night]) -> bool:
    return any(judge_last(nights[:end]) for end in range(1, len(nights) + 1))


def simulate_drops(draws: int, seed: int = 21) -> list[Figure]:
    """Return how often a drop of all panels by some points raises an alarm in its first night."""
    figures = []
    for year, points, target in DROPS:
        rng, tried = np.random.default_rng(seed), draws // DRAWS_OF_A_YEAR
        nights = (draw_nights(rng, year, MOST + 1, points / 100) for _ in range(tried))
        found = float(np.mean([bool(judge_last(one)) for one in nights]))
        name = f"a drop from 95 by {points} points found in its first night, {IMAGES} images, {year.name}"
        figures.append(Figure(SECTION, name, found, found, found, target, seed=seed))
    return figures
