"""What the statistics, the gate and the splits promise, simulated.

`make simulate` draws panels with what makes their comparison hard: images differ in difficulty, much alike for all
panels, so that errors overlap, and every training has luck of its own. Each simulation has its own seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from alarm import YEARS, simulate_drops, simulate_false_alarms
from bursts import simulate_bursts
from folds import simulate_better_learner, simulate_folds
from gate import simulate_better_challenger, simulate_years
from growth import simulate_growth
from measure import Figure, publish
from numpy.typing import NDArray
from scipy.stats import norm

from triptych.evaluation.statistics import Correct, PairedDifference, compare_pair
from triptych.system.threads import count_cores

SECTION, LEVEL = "trust", 0.05
# What of the variance of an image's difficulty all panels share. On the digits, the errors of different panels have a
# correlation of 0.85 (on the scale of the normal distribution), those of trainings of one panel 0.96.
SHARED, OWN = 0.85, 0.1
EQUAL, BETTER = (0.95, 0.95), (0.97, 0.95)
TEST_SETS, REPEATS, DEVIATIONS = (150, 540, 21_000), (2, 5, 10), (0.0, 0.003, 0.013)
DRAWS, QUICK_DRAWS = 2000, 200


@dataclass(frozen=True)
class Setting:
    """Two panels, as simulations draw them.

    Attributes:
        accuracies: of each panel, expected over all images and trainings.
        images: size of the test set.
        repeats: number of trainings of each panel.
        deviations: standard deviation of each panel's accuracy over its trainings.
        own: share of the variance of an image's difficulty that is the panel's own.
    """

    accuracies: tuple[float, float] = EQUAL
    images: int = 540
    repeats: int = 5
    deviations: tuple[float, float] = (DEVIATIONS[1],) * 2
    own: float = OWN

    @property
    def difference(self) -> float:
        """The difference in accuracy that the interval should cover."""
        return self.accuracies[0] - self.accuracies[1]


def draw_panels(rng: np.random.Generator, setting: Setting) -> list[Correct]:
    """Return for both panels which images their trainings classify correctly, (repeats, images) bool."""

    def draw(share: float, *shape: int) -> NDArray[np.float32]:
        return np.float32(np.sqrt(share)) * rng.standard_normal(shape, dtype=np.float32)

    easy, panels = draw(SHARED, setting.images), []
    for accuracy, deviation in zip(setting.accuracies, setting.deviations, strict=True):
        threshold = norm.ppf(accuracy)
        spread = deviation / norm.pdf(threshold)
        luck = draw(spread**2, setting.repeats, 1) + draw(1.0 - SHARED - setting.own, setting.repeats, setting.images)
        # The luck of trainings adds to the variance, which the threshold makes up for.
        margin = threshold * np.sqrt(1.0 + spread**2) + easy + draw(setting.own, setting.images)
        panels.append(margin + luck > 0.0)
    return panels


def compare_often(setting: Setting, draws: int, seed: int) -> Iterator[PairedDifference]:
    """Yield comparisons of the panels, each on other images and other trainings; each setting draws its own."""
    rng = np.random.default_rng([seed, *repr(setting).encode()])
    for _ in range(draws):
        first, second = draw_panels(rng, setting)
        yield compare_pair(first, second, 1.0 - LEVEL)


def find_rate(events: Iterable[bool]) -> float:
    """Return which share of the events is true."""
    return float(np.mean(list(events)))


def measure_false_wins(settings: Iterable[Setting], draws: int, seed: int) -> list[float]:
    """Return for each setting how often one of two equal panels wins."""
    return [find_rate(pair.p_value < LEVEL for pair in compare_often(setting, draws, seed)) for setting in settings]


def measure_power(setting: Setting, draws: int, seed: int) -> float:
    """Return how often the better panel wins."""
    return find_rate(pair.low > 0.0 for pair in compare_often(setting, draws, seed))


def measure_coverage(setting: Setting, draws: int, seed: int) -> float:
    """Return how often the interval covers the difference over all images and trainings."""
    return find_rate(pair.low <= setting.difference <= pair.high for pair in compare_often(setting, draws, seed))


def simulate_false_wins(images: int, draws: int, seed: int = 0) -> list[Figure]:
    """Simulate equal panels with several repeats, over all numbers of repeats and deviations of trainings."""
    settings = [
        Setting(images=images, repeats=repeats, deviations=(deviation,) * 2)
        for repeats in REPEATS
        for deviation in DEVIATIONS
    ]
    name = f"false wins of equal panels, the most: {images} images, 2 to 10 repeats, seeds ± 0 to 1.3 points"
    return [_bound_above(name, measure_false_wins(settings, draws, seed), seed)]


def simulate_unlike_panels(draws: int, seed: int = 1) -> list[Figure]:
    """Simulate equal panels of which only one has luck."""
    settings = [
        Setting(images=images, repeats=repeats, deviations=(DEVIATIONS[-1], 0.0))
        for images in TEST_SETS
        for repeats in REPEATS
    ]
    name = (
        "false wins of equal panels, the most: 150 to 21,000 images, seeds ± 1.3 points in one panel, ± 0 in the other"
    )
    return [_bound_above(name, measure_false_wins(settings, draws, seed), seed)]


def simulate_single_trainings(draws: int, seed: int = 2) -> list[Figure]:
    """Simulate equal trained networks: one repeat, and no luck, as that is part of a network once it is trained."""
    settings = [Setting(images=images, repeats=1, deviations=(0.0, 0.0)) for images in TEST_SETS]
    name = "false wins of equal trained networks, the most: 150 to 21,000 images, 1 repeat"
    return [_bound_above(name, measure_false_wins(settings, draws, seed), seed)]


def simulate_power(own: float, targets: tuple[float, float, float], draws: int, seed: int = 3) -> list[Figure]:
    """Simulate a better panel, for each number of repeats."""
    figures = []
    for repeats, target in zip(REPEATS, targets, strict=True):
        found = measure_power(Setting(BETTER, repeats=repeats, own=own), draws, seed)
        name = f"97 against 95 % found: 540 images, {repeats} repeats, seeds ± 0.3 points"
        if own:
            name += f", {100 * own:g} % of an image's difficulty is the panel's own"
        figures.append(Figure(SECTION, name, found, found, found, target, seed=seed))
    return figures


def simulate_coverage(draws: int, seed: int = 4) -> list[Figure]:
    """Simulate a better panel, and how often the interval covers by how much; with two repeats it is wide."""
    rates = {
        repeats: [
            measure_coverage(Setting(BETTER, repeats=repeats, deviations=(deviation,) * 2), draws, seed)
            for deviation in DEVIATIONS
        ]
        for repeats in REPEATS
    }
    two, more = rates[2], [*rates[5], *rates[10]]
    name = "coverage of the 95 % interval, the {}: 540 images, {} repeats, seeds ± 0 to 1.3 points"
    least = Figure(SECTION, name.format("least", "5 and 10"), min(more), min(more), max(more), 0.93, seed=seed)
    most = replace(least, figure=name.format("most", "5 and 10"), value=max(more), target=0.97, at_most=True)
    return [least, most, Figure(SECTION, name.format("least", 2), min(two), min(two), max(two), 0.93, seed=seed)]


def _bound_above(name: str, rates: list[float], seed: int) -> Figure:
    return Figure(SECTION, name, max(rates), min(rates), max(rates), 0.06, at_most=True, seed=seed)


# A row for each simulation: called with the number of draws, it returns its figures. The longest come first.
SIMULATIONS: tuple[Callable[[int], list[Figure]], ...] = (
    partial(simulate_false_wins, 21_000),
    partial(simulate_false_wins, 540),
    partial(simulate_false_wins, 150),
    simulate_unlike_panels,
    simulate_single_trainings,
    partial(simulate_power, 0.0, (0.2, 0.9, 0.95)),
    partial(simulate_power, OWN, (0.2, 0.8, 0.85)),
    partial(simulate_folds, bursts=False),
    partial(simulate_folds, bursts=True),
    simulate_better_learner,
    simulate_coverage,
    simulate_years,
    simulate_better_challenger,
    simulate_growth,
    simulate_bursts,
    *(partial(simulate_false_alarms, year) for year in YEARS),
    simulate_drops,
)


def main() -> None:
    """Run all simulations on all cores, and publish their figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="draw a tenth as often")
    draws = QUICK_DRAWS if parser.parse_args().quick else DRAWS
    started = time.monotonic()
    with ProcessPoolExecutor(count_cores()) as pool:
        running = [pool.submit(simulation, draws) for simulation in SIMULATIONS]
        figures = [figure for result in running for figure in result.result()]
    publish(SECTION, figures, f"{draws:,} draws, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
