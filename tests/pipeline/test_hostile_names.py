"""Names that are written to do harm are only text in the terminal, in CSV, on the page, in MLflow and in Prefect."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from helpers.photos import write_photos
from triptych.cli import app
from triptych.tracking.client import connect
from triptych.tracking.queries import fetch_report

CLASSES = (
    "=cmd|' !A0'",
    "<script>alert(1)",
    "[bold]a[red]",
    "new\nline \x1b[31m",
    "![x](http:x) `b` | c",
    "{{ 7*7 }} $x$",
)
FILE = "=1+1 \x1b[2J[bold]\n<b>.jpg"
pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_photos(tmp_path_factory.mktemp("hostile") / "<b>[x](y)\n", dict.fromkeys(CLASSES, 8))
    for name in CLASSES:
        (folder / name / "0.jpg").rename(folder / name / FILE)
        (folder / name / f"{FILE}.txt").touch()
    return folder


@pytest.fixture(scope="module")
def compared(folder: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from flows.compare import compare
    from triptych.config.resolve import resolve_config

    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty_store, home)}")
        patch.setenv("TRIPTYCH_CACHE_HOME", str(home / "cache"))
        # With this seed of the split, every class is in every part.
        settings = ["repeats=1", "split.seed=9"]
        config = resolve_config("photos", data=str(folder), panels=["most-frequent"], settings=settings)
        [result] = compare(config)
        yield result


def find_live(text: str) -> list[str]:
    """Return what Markdown would make of a text: elements, links and code that no backslash precedes."""
    return [live for live in ("<script", "<b>", "](http:x", "](y)", "`b`", "\x1b") if live in text.replace(r"\]", "")]


def test_the_records_of_mlflow_and_prefect_show_them_as_they_are(compared: Any) -> None:
    from prefect.client.orchestration import get_client

    client: Any = connect()
    experiment = client.get_experiment_by_name(compared.report.board)
    runs = client.search_runs([experiment.experiment_id])
    [comparison] = [run for run in runs if run.info.run_name == "comparison"]
    [version] = client.search_model_versions(f"name = '{compared.report.board}'")
    notes = [experiment.tags["mlflow.note.content"], comparison.data.tags["mlflow.note.content"], version.description]
    assert any("&lt;script>alert(1)" in note for note in notes)
    assert any(r"!\[x\](http:x) \`b\` \| c" in note for note in notes)
    for note in notes:
        assert find_live(note) == []
    with get_client(sync_client=True) as prefect:
        flow_run = UUID(comparison.data.tags["prefect.flow_run_id"])
        found = prefect.request("POST", "/artifacts/filter", json={}).json()
    shown = [
        artifact for artifact in found if artifact["flow_run_id"] == str(flow_run) and artifact["type"] == "markdown"
    ]
    assert shown
    for artifact in shown:
        assert find_live(artifact["data"] + (artifact["description"] or "")) == []


def test_the_page_has_no_element_of_theirs_and_no_control_character(compared: Any) -> None:
    page = fetch_report(compared.comparison).read_text(encoding="utf-8")
    # Two of its own: its data and its script.
    assert page.count("<script") == page.count("</script") == 2
    assert "\x1b" not in page


def test_the_terminal_and_a_table_get_text(compared: Any, folder: Path) -> None:
    for command in (
        ["check", str(folder), "--set", "split.seed=9", "--all"],
        ["show"],
        ["predict", f"{compared.report.board}/1", str(folder)],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert not [one for one in done.output if not one.isprintable() and one != "\n"]
    table = CliRunner().invoke(app, ["predict", f"{compared.report.board}/1", str(folder), "--csv"]).stdout
    for row in csv.DictReader(io.StringIO(table)):
        assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
