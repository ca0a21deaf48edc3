"""A thousand nights: what a store costs with 3,000 comparisons, against one with ten.

The nights are copies of one real comparison, written into the tables of an SQLite store. Real nights show how
many bytes one stores that trains nothing new, and one that trains a new head because photos were added.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from growth import Folder, record_panels
from measure import PAIRS, QUICK_PAIRS, Figure, compare_times, publish

from triptych.config.resolve import resolve_config
from triptych.data.boards import load_board, prepare_board
from triptych.evaluation.report import EvaluatedPanel
from triptych.panels.identity import TRAINING, identify_comparison
from triptych.system.environment import apply_environment
from triptych.system.files import measure_folder
from triptych.tracking.artifacts import finish_comparison, load_logged_curves
from triptych.tracking.client import connect
from triptych.tracking.leases import own_leases
from triptych.tracking.queries import fetch_report, find_recorded
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.registry.champions import challenge, register_panel
from triptych.tracking.runs import start_comparison
from triptych.tracking.tags import PREFIX

SECTION = "nights"
PANELS = ("nearest-neighbours", "most-frequent", "logistic-regression")
FEW, MANY = 10, 3000
MILLISECONDS_PER_DAY = 86_400_000
TARGET = 1.3
# Pretrained networks that a night compares by themselves, and their weights: VGG16 has half a gigabyte of them.
PRETRAINED = {"shufflenet_v2_x0_5": "bundled", "vgg16": "random"}
PHOTOS_OF_A_CLASS = 20
MOST_MEGABYTES = {"trains nothing new": 0.3, "trains a new head": 1.5}
# The tables of MLflow that hold what searches read; the others grow likewise, and are copied where all of it counts.
SEARCHED = ("runs", "tags")
RECORDED = (*SEARCHED, "params", "latest_metrics", "metrics", "inputs", "logged_models", "logged_model_params")
REGISTERED = ("model_versions", "model_version_tags")


def copy_nights(file: Path, nights: int, tables: Sequence[str] = RECORDED, versions: int = 0) -> None:
    """Add copies of the comparison in a store, each a day older than the one before.

    Args:
        file: the SQLite file of a store with one comparison.
        nights: the number of copies.
        tables: the tables to copy.
        versions: how many of the copies, the oldest, have registered versions of their own.
    """
    with closing(sqlite3.connect(file)) as database, database:
        names = _list_names(database)
        for table in (*tables, *(REGISTERED if versions else ())):
            cursor = database.execute(f"SELECT * FROM {table}")  # noqa: S608 - of the tables above
            columns = [column[0] for column in cursor.description]
            first = nights - versions if table in REGISTERED else 0
            rows = _copy_rows(cursor.fetchall(), columns, names, range(first + 1, nights + 1))
            marks = ", ".join("?" * len(columns))
            database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608


def _list_names(database: sqlite3.Connection) -> list[str]:
    """Return what has to be unique in each night: the ids of runs, models, inputs, trainings and the comparison."""
    queries = (
        "SELECT run_uuid FROM runs",
        "SELECT model_id FROM logged_models",
        "SELECT input_uuid FROM inputs",
        f"SELECT DISTINCT value FROM tags WHERE key IN ('{PREFIX}comparison', '{PREFIX}{TRAINING}')",  # noqa: S608
    )
    return [name for query in queries for (name,) in database.execute(query)]


def _copy_rows(
    rows: Sequence[tuple[Any, ...]], columns: Sequence[str], names: Sequence[str], nights: range
) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        cells = [_find_change(column, cell, names) for column, cell in zip(columns, row, strict=True)]
        changes = [(position, change) for position, change in enumerate(cells) if change is not None]
        for night in nights:
            copied = list(row)
            for position, change in changes:
                copied[position] = change(night)
            yield tuple(copied)


def _find_change(column: str, cell: Any, names: Sequence[str]) -> Callable[[int], Any] | None:
    """Return what a cell holds in a night; None if it is the same in all."""
    if column == "version":
        return lambda night: cell + night
    if isinstance(cell, int) and "time" in column:
        return lambda night: cell - night * MILLISECONDS_PER_DAY
    # Copies have the files of the original.
    if isinstance(cell, str) and column not in {"artifact_uri", "artifact_location", "source", "storage_location"}:
        for name in names:
            if name in cell:
                return lambda night: cell.replace(name, rename(name, night))
    return None


def rename(name: str, night: int) -> str:
    """Return the name of a run, a model, an input, a training or a comparison in a night; 0 is the original."""
    return f"{name[:-5]}{night:05}" if night else name


def record_one(board: str) -> tuple[ComparisonRecord, EvaluatedPanel]:
    """Record a comparison of quick panels, with its report; return it and one of its panels."""
    [config] = resolve_config("digits", panels=PANELS, settings=[f"name={board}"]).boards
    prepared = prepare_board(config)
    comparison = start_comparison(prepared, {}, identify_comparison(prepared))
    panels = list(record_panels(comparison, comparison.jobs, load_board(prepared)))
    result = {"verdict": "one of many nights", "missing": [], "findings": []}
    finish_comparison(comparison, result, "", load_logged_curves(panels), "<html></html>")
    return comparison, panels[0]


class Store:
    """A store with a number of nights."""

    def __init__(self, folder: Path, template: Path, nights: int) -> None:
        """Copy the store with one night, and fill the copy."""
        folder.mkdir()
        self.file = Path(shutil.copy(template, folder))
        copy_nights(self.file, nights - 1, versions=nights - 2)

    def measure(self, work: Callable[[], Callable[[], None]]) -> float:
        """Return the seconds of CPU time of some work on the store; what it returns undoes it."""
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{self.file}"
        connect()
        started = time.process_time()
        undo = work()
        seconds = time.process_time() - started
        undo()
        return seconds


def list_works(
    comparison: ComparisonRecord, panel: EvaluatedPanel, nights: int
) -> dict[str, Callable[[], Callable[[], None]]]:
    """Return what is measured by its name.

    Args:
        comparison: the newest.
        panel: one of its panels.
        nights: the nights in the store.
    """
    # Of the second night, whose training has not been registered.
    tonight = replace(panel, run_id=rename(panel.run_id, 1), model_uri=rename(panel.model_uri, 1))

    def start() -> Callable[[], None]:
        started = start_comparison(comparison.prepared, {}, "another night", fresh=True)

        def undo() -> None:
            own_leases.release(started.run_id)
            connect().delete_run(started.run_id)

        return undo

    def show() -> Callable[[], None]:
        if len(find_recorded(datetime.now(UTC) - timedelta(hours=12))) != 1:
            raise RuntimeError("one comparison is from tonight")
        return lambda: None

    def report() -> Callable[[], None]:
        fetch_report(rename(comparison.comparison, nights - 1))
        return lambda: None

    def register() -> Callable[[], None]:
        register_panel(comparison.prepared, tonight)
        challenge(comparison.prepared, tonight)

        def undo() -> None:
            for version in connect().search_model_versions(f"run_id = '{tonight.run_id}'"):
                connect().delete_model_version(version.name, version.version)

        return undo

    return {"compare's start": start, "show --since 12h": show, "report of the oldest": report, "register": register}


def measure_nights(home: Path, pairs: int) -> list[Figure]:
    """Return by what each command costs more with many nights in the store than with a few."""
    template = home / "mlflow.db"
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{template}"
    comparison, panel = record_one("nights")
    register_panel(comparison.prepared, panel)
    challenge(comparison.prepared, panel)
    stores = {nights: Store(home / str(nights), template, nights) for nights in (MANY, FEW)}
    works = {nights: list_works(comparison, panel, nights) for nights in stores}
    figures = []
    for name in works[FEW]:
        seconds: dict[int, list[float]] = {nights: [] for nights in stores}
        for _ in range(pairs + 1):
            for nights, store in stores.items():
                seconds[nights].append(store.measure(works[nights][name]))
        # The first is for warming up.
        figure = f"CPU time of {name}, {MANY} comparisons / {FEW}"
        figures.append(compare_times(SECTION, figure, seconds[MANY][1:], seconds[FEW][1:], TARGET, at_most=True))
    return figures


def measure_bytes(home: Path) -> list[Figure]:
    """Return the megabytes that a night adds to a store, its database included."""
    figures = []
    for panel, weights in PRETRAINED.items():
        folder = home / panel
        (folder / "photos").mkdir(parents=True)
        photos = Folder(folder / "photos", seed=0, first=PHOTOS_OF_A_CLASS)
        sizes = [_compare_tonight(folder, panel, weights)]
        sizes.append(_compare_tonight(folder, panel, weights))
        photos.change(1)
        sizes.append(_compare_tonight(folder, panel, weights))
        for what, before, after in zip(("trains nothing new", "trains a new head"), sizes, sizes[1:], strict=False):
            megabytes = (after - before) / 1e6
            name = f"MB that a night stores which {what}, {panel} ({weights} weights)"
            figures.append(Figure(SECTION, name, megabytes, megabytes, megabytes, MOST_MEGABYTES[what], at_most=True))
    return figures


def _compare_tonight(folder: Path, panel: str, weights: str) -> int:
    """Run a comparison of one pretrained network, as a night does; return the bytes of the store after it."""
    homes = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/store/mlflow.db", "TRIPTYCH_CACHE_HOME": f"{folder}/cache"}
    settings = [f"--set=transfer.weights={weights}", "--set=repeats=1"]
    command = [sys.executable, "-m", "triptych", "compare", "--preset=photos", f"--data={folder}/photos"]
    subprocess.run([*command, f"--panel={panel}", *settings], env={**os.environ, **homes}, check=True)  # noqa: S603 - our own
    return measure_folder(folder / "store")


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    pairs = QUICK_PAIRS if parser.parse_args().quick else PAIRS
    apply_environment(quiet=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRIPTYCH_CACHE_HOME"] = str(Path(folder) / "cache")
        figures = measure_bytes(Path(folder)) + measure_nights(Path(folder), pairs)
    publish(SECTION, figures, "an SQLite store")


if __name__ == "__main__":
    main()
