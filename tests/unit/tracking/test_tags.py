"""Runs of this version, and those of version 0.1.0, whose tags had no prefix, in one store."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from typer.testing import CliRunner

from triptych.cli import app
from triptych.config.resolve import resolve_config
from triptych.data.boards import PreparedBoard, prepare_board
from triptych.tracking.client import connect
from triptych.tracking.leases import own_leases
from triptych.tracking.links import VIEW_TAG, select_panels
from triptych.tracking.queries import fetch_report, find_panel_runs, find_recorded
from triptych.tracking.resume import name_share
from triptych.tracking.runs import create_run, start_comparison
from triptych.tracking.studies import find_trial_runs, start_study
from triptych.tracking.tags import (
    COMPARISON,
    FLOW_RUN,
    HOST,
    LABEL,
    PANEL,
    PREFIX,
    REPEAT,
    REPORTED,
    ROLE,
    RUNNING,
    STUDY,
    own_tags,
    read_tags,
    search,
    select,
    set_tags,
)

OLD = "20250101-030000-abc123"
HOUR = 3_600_000


@pytest.fixture
def client(own_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    del own_store
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    return connect()


@pytest.fixture
def experiment(client: MlflowClient, tmp_path: Path) -> str:
    return client.create_experiment("digits", artifact_location=(tmp_path / "artifacts").as_uri())


@pytest.fixture
def prepared() -> PreparedBoard:
    return prepare_board(resolve_config("digits", panels=["numpy-mlp"]).boards[0])


def write_old_comparison(client: MlflowClient, experiment: str, moment: int) -> str:
    """Write a comparison as version 0.1.0 wrote it, begun at some milliseconds since 1970; return its run's id."""
    common = {"comparison": OLD, "board": "digits", "split_id": "0123456789abcdef"}
    whole = {**common, "role": "comparison", "identity": "an identity", "host": "a host", "reported": "true"}
    comparison = client.create_run(experiment, start_time=moment, run_name="comparison", tags=whole)
    client.log_dict(comparison.info.run_id, {"verdict": "numpy-mlp wins", "missing": []}, "comparison.json")
    client.log_text(comparison.info.run_id, "<html>old</html>", "report.html")
    for repeat in range(2):
        own = {"role": "panel", "panel": "numpy-mlp", "label": "numpy-mlp", "repeat": str(repeat), "evaluated": "true"}
        panel = client.create_run(experiment, start_time=moment + repeat + 1, tags={**common, **own})
        client.log_batch(panel.info.run_id, metrics=[Metric("test_accuracy", 0.97, moment, 0)])
        client.set_terminated(panel.info.run_id, end_time=moment + HOUR)
    client.set_terminated(comparison.info.run_id, end_time=moment + HOUR)
    return str(comparison.info.run_id)


def test_tags_of_others_keep_their_names_and_the_prefix_wins(client: MlflowClient, experiment: str) -> None:
    written = own_tags({ROLE: "panel", "images.train": "3", FLOW_RUN: "1", "mlflow.runColor": "red"})
    assert set(written) == {"triptych.role", "triptych.images.train", "prefect.flow_run_id", "mlflow.runColor"}
    run = client.create_run(experiment, tags={**written, "role": "a user's own"})
    assert {**read_tags(run), "role": "panel"}.items() >= {"images.train": "3", FLOW_RUN: "1"}.items()
    assert read_tags(run)["role"] == "panel"
    assert [found.info.run_id for found in search(client, [experiment], {ROLE: "panel"})] == [run.info.run_id]


def test_the_filter_is_quoted_as_mlflow_wants_it(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment, tags=own_tags({COMPARISON: "one", ROLE: "panel"}))
    client.create_run(experiment, tags=own_tags({COMPARISON: "two", ROLE: "panel"}))
    assert select_panels("one") == "tags.`triptych.comparison` = 'one' and tags.`triptych.role` = 'panel'"
    assert [found.info.run_id for found in client.search_runs([experiment], select_panels("one"))] == [run.info.run_id]


def test_a_comparison_of_version_0_1_0_is_shown_with_its_panels_and_report(
    client: MlflowClient, experiment: str
) -> None:
    moment = int(datetime.now(UTC).timestamp() * 1000) - 2 * HOUR
    run_id = write_old_comparison(client, experiment, moment)
    [shown] = find_recorded()
    assert (shown.role, shown.name, shown.board, shown.verdict) == ("comparison", OLD, "digits", "numpy-mlp wins")
    assert [(panel.label, panel.repeat, panel.metrics) for panel in shown.panels] == [
        ("numpy-mlp", repeat, {"test_accuracy": 0.97}) for repeat in range(2)
    ]
    assert [one.name for one in find_recorded(datetime.now(UTC) - timedelta(hours=2))] == [OLD]
    assert find_recorded(datetime.now(UTC) - timedelta(minutes=30)) == []
    for reference in (None, OLD, run_id):
        assert fetch_report(reference).read_text() == "<html>old</html>"
    printed = CliRunner().invoke(app, ["show", "--json"]).stdout
    assert json.loads(printed)[0]["name"] == OLD


def test_the_charts_of_an_old_comparison_whose_view_was_deleted_are_those_of_its_runs(
    client: MlflowClient, experiment: str
) -> None:
    write_old_comparison(client, experiment, int(datetime.now(UTC).timestamp() * 1000))
    [shown] = find_recorded()
    query = unquote(shown.address.partition("searchFilter=")[2].partition("&")[0])
    assert len(client.search_runs([experiment], query)) == 2
    client.set_experiment_tag(experiment, VIEW_TAG + OLD, "a view")
    assert "viewStateShareKey" in find_recorded()[0].address


def test_the_last_comparison_is_the_newest_of_both_versions(
    client: MlflowClient, experiment: str, prepared: PreparedBoard
) -> None:
    write_old_comparison(client, experiment, int(datetime.now(UTC).timestamp() * 1000) - HOUR)
    new = start_comparison(prepared, {}, "an identity")
    own_leases.release(new.run_id)
    assert [shown.name for shown in find_recorded()] == [new.comparison]
    both = find_recorded(datetime.now(UTC) - timedelta(days=1))
    assert [shown.name for shown in both] == [OLD, new.comparison]
    assert len(find_panel_runs(experiment, OLD)) == 2
    assert not client.get_run(new.run_id).data.tags.keys() & {"comparison", "role", "identity", "host", "board"}
    assert client.get_run(new.run_id).data.tags.keys() >= {f"{PREFIX}{name}" for name in (COMPARISON, ROLE, HOST)}


def test_what_version_0_1_0_left_running_is_closed(
    client: MlflowClient, experiment: str, prepared: PreparedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triptych.tracking.resume.find_host", lambda: "this host")
    whole = {"comparison": OLD, "role": "comparison", "identity": "another", "host": "this host"}
    comparison = client.create_run(experiment, tags=whole).info.run_id
    panel = client.create_run(experiment, tags={"comparison": OLD, "role": "panel"}).info.run_id
    own_leases.release(start_comparison(prepared, {}, "an identity").run_id)
    assert [client.get_run(run_id).info.status for run_id in (comparison, panel)] == ["KILLED", "KILLED"]


def test_a_study_of_version_0_1_0_is_continued(client: MlflowClient, experiment: str, prepared: PreparedBoard) -> None:
    old = client.create_run(experiment, tags={"role": "study", "study": "a study", "panel": "numpy-mlp"}).info.run_id
    trial = client.create_run(experiment, tags={"role": "trial", "study": "a study", "outcome": "complete"}).info.run_id
    record = start_study(prepared, "numpy-mlp", "a study", (), {FLOW_RUN: "a flow run"})
    own_leases.release(record.run_id, name_share("a flow run"))
    assert record.run_id == old
    new = create_run(client, experiment, "trial", {ROLE: "trial", STUDY: "a study"}, replace(prepared, notes=()))
    assert [run.info.run_id for run in find_trial_runs(experiment, "a study")] == [trial, new]
    assert [shown.name for shown in find_recorded(datetime.now(UTC) - timedelta(days=1))] == ["numpy-mlp"]


def test_studies_of_one_name_with_other_trials_are_other_runs(client: MlflowClient, prepared: PreparedBoard) -> None:
    del client

    def start(journal: str, *, continued: bool) -> str:
        tags = {FLOW_RUN: "a flow run"}
        record = start_study(prepared, "numpy-mlp", "a study", (), tags, journal=journal, continued=continued)
        own_leases.release(record.run_id, name_share("a flow run"))
        return record.run_id

    unknown = start("", continued=True)
    first, second = start("first", continued=False), start("second", continued=False)
    assert len({unknown, first, second}) == 3
    assert [start("first", continued=True), start("second", continued=False)] == [first, second]


def test_only_so_many_runs_are_returned_the_newest_first(client: MlflowClient, experiment: str) -> None:
    runs = []
    for number in range(4):
        tags = {ROLE: "panel", PANEL: "numpy-mlp", LABEL: "numpy-mlp", REPEAT: "0"}
        start = 1_000 * (number + 1)
        runs.append(client.create_run(experiment, start_time=start, tags=tags if number % 2 else own_tags(tags)))
    newest = [run.info.run_id for run in reversed(runs)]
    assert [run.info.run_id for run in search(client, [experiment], {ROLE: "panel"})] == newest
    assert [run.info.run_id for run in search(client, [experiment], {ROLE: "panel"}, most=3)] == newest[:3]
    set_tags(client, newest[1], {REPORTED: "true"})
    assert search(client, [experiment], {REPORTED: "true"})[0].info.run_id == newest[1]
    client.set_terminated(newest[0])
    assert [run.info.run_id for run in search(client, [experiment], {ROLE: "panel"}, where=RUNNING)] == newest[1:]
    assert client.search_runs([experiment], select({ROLE: "study"})) == []
