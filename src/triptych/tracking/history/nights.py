"""The nights of a board: those that its run `history` keeps, and those that so far only their comparisons describe."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.entities import Run

from triptych.errors import DamagedFileError
from triptych.evaluation.history.nights import FINISHED, INCOMPLETE, LONGEST_TEXT, Night, describe_panels
from triptych.system.checked import reading
from triptych.tracking.client import connect
from triptych.tracking.queries import RESULT_FILES, load_result
from triptych.tracking.tags import COMPARISON, REPORTED, ROLE, TEST_SET, read_tags, search, select

HISTORY = "history"
# The folder of the run with a file for each month, which is a list of its nights.
FOLDER = "nights"
# A comparison may end so long after a later one was recorded.
LONGEST = timedelta(days=7)
log = logging.getLogger(__name__)


def find_history_run(client: mlflow.MlflowClient, experiment_id: str) -> Run | None:
    """Return the run that keeps the nights of a board, the oldest if two processes created one; None if there is none.

    Args:
        client: of the tracking store.
        experiment_id: MLflow's id of the board's experiment.
    """
    order = ["attributes.start_time ASC"]
    found = client.search_runs([experiment_id], select({ROLE: HISTORY}), max_results=1, order_by=order)
    return found[0] if found else None


def load_nights(experiment_id: str) -> tuple[list[Night], list[Night]]:
    """Return the nights of a board that are recorded, and those that are not yet; the oldest first.

    Comparisons that are running are left out, and cross-validations, which test all images by other trainings.

    Args:
        experiment_id: MLflow's id of the board's experiment.
    """
    client = connect()
    recorded, since = _load_recorded(client, find_history_run(client, experiment_id))
    known = {night.comparison: night for night in recorded}
    where = f"attributes.start_time >= {since.timestamp() * 1000:.0f}"
    found = []
    for run in search(client, [experiment_id], {ROLE: "comparison"}, where=where):
        if run.data.params.get("split.folds", "0") != "0":
            continue
        before = known.get(read_tags(run)[COMPARISON])
        # One that failed may have been continued since.
        if run.info.status != "RUNNING" and (before is None or (before.failed and REPORTED in read_tags(run))):
            found.append(describe_night(client, run))
    replaced = {night.comparison for night in found}
    return [night for night in recorded if night.comparison not in replaced], found[::-1]


def merge_nights(recorded: Sequence[Night], others: Sequence[Night]) -> list[Night]:
    """Return all nights of a board, the oldest first, each with a number; an earlier state of a night is replaced."""
    numbers = {night.comparison: night.number for night in recorded}
    for night in sorted(others, key=lambda night: night.started):
        numbers.setdefault(night.comparison, max(numbers.values(), default=0) + 1)
    merged = {night.comparison: replace(night, number=numbers[night.comparison]) for night in (*recorded, *others)}
    return sorted(merged.values(), key=lambda night: night.started)


def _load_recorded(client: mlflow.MlflowClient, run: Run | None) -> tuple[list[Night], datetime]:
    """Return the nights that a run keeps, and the time since which there may be others."""
    nights: list[Night] = []
    damaged: list[datetime] = []
    if run and client.list_artifacts(run.info.run_id, FOLDER):
        with TemporaryDirectory() as folder:
            for file in sorted(Path(client.download_artifacts(run.info.run_id, FOLDER, folder)).iterdir()):
                try:
                    nights += _read_month(file)
                except DamagedFileError as error:
                    log.warning("runs:/%s/%s/%s is damaged (%s)", run.info.run_id, FOLDER, file.name, error.reason)
                    damaged.append(datetime.strptime(file.stem, "%Y-%m").replace(tzinfo=UTC))
    nights.sort(key=lambda night: night.started)
    newest = datetime.fromtimestamp(nights[-1].started / 1000, UTC) if nights else datetime.fromtimestamp(0, UTC)
    return nights, min([max(newest - LONGEST, datetime.fromtimestamp(0, UTC)), *damaged])


def _read_month(file: Path) -> list[Night]:
    with reading(file):
        return [Night.from_json(values) for values in json.loads(file.read_text(encoding="utf-8"))]


def describe_night(client: mlflow.MlflowClient, run: Run) -> Night:
    """Return what the run of a comparison that has ended says of it."""
    reported = REPORTED in read_tags(run)
    return describe_result(run, load_result(client, run, RESULT_FILES["comparison"]) if reported else {})


def describe_result(run: Run, result: Mapping[str, Any]) -> Night:
    """Return the night of a comparison.

    Args:
        run: of the comparison.
        result: its report as JSON values; empty if it ended without one.
    """
    tags = read_tags(run)
    images = {part: int(tags.get(f"images.{part}", 0)) for part in ("train", "validation", "test")}
    level = float(run.data.params.get("evaluate.confidence_level", 0.95))
    standings = result.get("standings", ())
    missing = tuple(f"{one['label']} ({one['reason']})"[:LONGEST_TEXT] for one in result.get("missing", ()))
    return Night(
        comparison=tags[COMPARISON],
        started=run.info.start_time,
        status=(INCOMPLETE if missing else FINISHED) if standings else str(run.info.status).lower(),
        panels=describe_panels(standings, images["test"], level),
        images=images,
        data=tags.get("data_sha256", ""),
        test_set=tags.get(TEST_SET, ""),
        verdict=str(result.get("verdict", ""))[:LONGEST_TEXT],
        missing=missing,
    )
