from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
import pytest
from nights import SEARCHED, copy_nights, rename

from helpers.comparisons import Recorded
from helpers.damages import DAMAGES
from triptych.errors import ConfigError
from triptych.tracking.client import connect
from triptych.tracking.leases import own_leases
from triptych.tracking.links import VIEW_TAG, VIEWS_DELETED_AT_ONCE, VIEWS_KEPT
from triptych.tracking.queries import fetch_report, find_panel_runs, find_recorded
from triptych.tracking.runs import start_comparison


def test_a_comparison_is_found_with_its_panels(recorded: Recorded) -> None:
    comparison = recorded.comparison
    [found] = find_recorded()
    assert (found.role, found.name, found.board, found.status) == (
        "comparison",
        comparison.comparison,
        "digits",
        "FINISHED",
    )
    assert found.verdict.startswith("numpy-mlp reaches")
    assert found.address == recorded.link
    assert [panel.run_id for panel in found.panels] == [recorded.panel.run_id]
    [run] = find_panel_runs(comparison.experiment_id, comparison.comparison)
    assert run.info.run_id == recorded.panel.run_id


def test_only_what_was_active_since_then_is_listed(recorded: Recorded) -> None:
    now = datetime.now(UTC)
    assert [found.name for found in find_recorded(now - timedelta(days=1))] == [recorded.comparison.comparison]
    assert find_recorded(now + timedelta(days=1)) == []


def test_the_report_of_a_comparison_is_fetched(recorded: Recorded) -> None:
    page = fetch_report().read_text(encoding="utf-8")
    assert recorded.comparison.comparison in page
    assert fetch_report(recorded.comparison.run_id).read_text(encoding="utf-8") == page
    assert fetch_report("digits").read_text(encoding="utf-8") == page
    with pytest.raises(ConfigError, match="no comparison 'another'"):
        fetch_report("another")


def test_a_damaged_result_is_named_in_place_of_the_verdict(recorded: Recorded) -> None:
    file = Path(urlsplit(str(connect().get_run(recorded.comparison.run_id).info.artifact_uri)).path) / "comparison.json"
    content = file.read_bytes()
    try:
        for damage in ("cut", "empty"):
            DAMAGES[damage](file)
            [found] = find_recorded()
            assert found.verdict.startswith(f"runs:/{recorded.comparison.run_id}/comparison.json is damaged")
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_copy_of_a_report_is_replaced(damage: str, recorded: Recorded) -> None:
    del recorded
    page = fetch_report().read_text(encoding="utf-8")
    DAMAGES[damage](fetch_report())
    assert fetch_report().read_text(encoding="utf-8") == page


def test_a_comparison_that_was_not_finished_has_no_report(recorded: Recorded) -> None:
    open_one = start_comparison(recorded.comparison.prepared, {}, "another identity", fresh=True)
    with pytest.raises(ConfigError, match=r"has no report, and its status is RUNNING: run `triptych compare` again"):
        fetch_report(open_one.comparison)
    own_leases.release(open_one.run_id)


@pytest.mark.usefixtures("own_store")
def test_an_empty_store_has_no_comparison() -> None:
    assert find_recorded() == []
    with pytest.raises(ConfigError, match="no comparison yet: run `triptych compare`"):
        fetch_report()


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
