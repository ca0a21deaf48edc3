"""The history of a board: what a year of nights costs to show.

The year is a store with 365 comparisons of three panels, copies of a real one, and the run that keeps their nights.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from alarm import PANELS, YEARS, draw_nights
from measure import PAIRS, QUICK_PAIRS, Figure, publish
from nights import MILLISECONDS_PER_DAY, copy_nights, record_one, rename

from triptych.evaluation.history.page import render_history_page
from triptych.system.environment import apply_environment
from triptych.tracking.client import connect
from triptych.tracking.history.boards import find_histories
from triptych.tracking.history.run import record_night

SECTION = "history"
NIGHTS, SECONDS = 365, 2.0


def fill_store(file: Path) -> str:
    """Fill a store with a year of nights; return the board's name."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{file}"
    comparison, _ = record_one("nights")
    copy_nights(file, NIGHTS - 1)
    started = connect().get_run(comparison.run_id).info.start_time
    nights = [
        replace(
            night,
            comparison=rename(comparison.comparison, NIGHTS - 1 - number),
            started=started - (NIGHTS - 1 - number) * MILLISECONDS_PER_DAY,
        )
        for number, night in enumerate(draw_nights(np.random.default_rng(0), YEARS[3], NIGHTS))
    ]
    record_night("nights", comparison.experiment_id, ([], nights[:-1]), nights[-1], None)
    return "nights"


def measure_page(home: Path, pairs: int) -> list[Figure]:
    """Return the seconds of CPU time that the year takes to be read, judged and drawn."""
    board = fill_store(home / "mlflow.db")
    found, drawn = [], []
    for _ in range(pairs + 1):
        started = time.process_time()
        histories = find_histories(board)
        found.append(time.process_time() - started)
        page = render_history_page(histories)
        drawn.append(time.process_time() - started)
    size = len(page) / 1e6
    return [
        Figure(
            SECTION, f"CPU s of `history`, {NIGHTS} nights, {PANELS} panels", *_spread(found), SECONDS, at_most=True
        ),
        Figure(SECTION, f"CPU s with its page, {NIGHTS} nights", *_spread(drawn), SECONDS, at_most=True),
        Figure(SECTION, "MB of its page", size, size, size, 1.5, at_most=True),
    ]


def _spread(seconds: list[float]) -> tuple[float, float, float]:
    # The first is for warming up.
    return float(np.median(seconds[1:])), min(seconds[1:]), max(seconds[1:])


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    quick = parser.parse_args().quick
    apply_environment(quiet=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRIPTYCH_CACHE_HOME"] = str(Path(folder) / "cache")
        figures = measure_page(Path(folder), QUICK_PAIRS if quick else PAIRS)
    publish(SECTION, figures, "an SQLite store")


if __name__ == "__main__":
    main()
