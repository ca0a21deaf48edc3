"""Shared code of the benchmarks: ratios of two jobs timed alternately in one process, and their table of targets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results.json")
PAIRS, QUICK_PAIRS = 5, 2


@dataclass(frozen=True)
class Figure:
    """A measured figure and its target.

    Attributes:
        section: the benchmark that it belongs to.
        figure: what is measured, with its unit.
        value: the median of the measurements.
        min: the smallest measurement.
        max: the largest measurement.
        target: a lower bound of the value.
        at_most: whether the target is an upper bound instead.
        seed: of a simulation; None where something is measured.
    """

    section: str
    figure: str
    value: float
    min: float
    max: float
    target: float
    at_most: bool = False
    seed: int | None = None

    @property
    def holds(self) -> bool:
        """Whether the median meets the target."""
        return self.value <= self.target if self.at_most else self.value >= self.target

    def as_json(self) -> dict[str, object]:
        """Return the figure as `bench/results.json` lists it."""
        fields = {name: value for name, value in asdict(self).items() if name != "at_most" and value is not None}
        return fields | {"target": f"{'<=' if self.at_most else '>='} {self.target:g}", "holds": self.holds}


def time_by_turns(jobs: Mapping[str, Callable[[], object]], pairs: int) -> dict[str, list[float]]:
    """Return the seconds of each job, run alternately (A B A B ...) after a warm-up run of each."""
    for job in jobs.values():
        job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(pairs):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def compare_times(
    section: str, figure: str, over: Sequence[float], under: Sequence[float], target: float, *, at_most: bool = False
) -> Figure:
    """Return the ratio of two series of seconds, measurement by measurement."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    return Figure(section, figure, median(ratios), min(ratios), max(ratios), target, at_most)


def publish(section: str, figures: Sequence[Figure], note: str) -> None:
    """Print a table of the figures, and replace those of the section in `bench/results.json`."""
    table = Table(title=f"bench/{section} ({note})", title_justify="left")
    for column in ("figure", "median", "min", "max", "target", "holds"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for figure in figures:
        row = figure.as_json()
        values = [f"{number:.3g}" for number in (figure.value, figure.min, figure.max)]
        table.add_row(figure.figure, *values, str(row["target"]), "yes" if figure.holds else "NO")
    Console().print(table)
    old = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    kept = [row for row in old if row["section"] != section]
    RESULTS.write_text(json.dumps(kept + [figure.as_json() for figure in figures], indent=1) + "\n", encoding="utf-8")
