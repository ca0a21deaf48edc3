"""A store with more comparisons than one page of MLflow's searches."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import pytest
from nights import SEARCHED, copy_nights, rename

from helpers.comparisons import Recorded
from triptych.tracking.client import connect
from triptych.tracking.leases import own_leases
from triptych.tracking.links import VIEW_TAG, VIEWS_DELETED_AT_ONCE, VIEWS_KEPT
from triptych.tracking.queries import fetch_report, find_recorded
from triptych.tracking.runs import start_comparison

NIGHTS = 1100


@pytest.fixture
def read(recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A store with many nights; the number of runs that each search of the test returned."""
    del recorded
    copy_nights(tmp_path / "mlflow.db", NIGHTS, SEARCHED)
    read: list[int] = []
    search_runs = mlflow.MlflowClient.search_runs

    def count(*arguments: Any, **options: Any) -> Any:
        found = search_runs(*arguments, **options)
        read.append(len(found))
        return found

    monkeypatch.setattr(mlflow.MlflowClient, "search_runs", count)
    return read


def test_no_command_reads_more_than_it_asks_for(recorded: Recorded, read: list[int], tmp_path: Path) -> None:
    comparison, run_id = recorded.comparison.comparison, recorded.comparison.run_id
    for reference in (rename(comparison, NIGHTS), rename(run_id, NIGHTS)):
        assert rename(comparison, NIGHTS) in str(fetch_report(reference))
    assert fetch_report().parent.name == comparison
    found = find_recorded(datetime.now(UTC) - timedelta(hours=36))
    assert [one.name for one in found] == [rename(comparison, 1), comparison]
    assert [len(one.panels) for one in found] == [1, 1]
    # As a store of an earlier version, with a view for each comparison, and one that a user has shared.
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        views = [(f"{VIEW_TAG}{rename(comparison, night)}", "{}", 1) for night in range(1, VIEWS_DELETED_AT_ONCE + 1)]
        database.executemany("INSERT INTO experiment_tags VALUES (?, ?, ?)", [*views, (f"{VIEW_TAG}a-user", "{}", 1)])
    for identity in ("one", "two"):
        own_leases.release(start_comparison(recorded.comparison.prepared, {}, identity).run_id)
    tags = connect().get_experiment(recorded.comparison.experiment_id).tags
    left = [tag for tag in tags if tag.startswith(VIEW_TAG)]
    assert len(left) == VIEWS_KEPT + 1
    assert f"{VIEW_TAG}a-user" in left
    assert sum(read) < 20
