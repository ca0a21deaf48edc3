"""Searches for comparisons and studies."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from triptych.config.names import spell_safely
from triptych.errors import ConfigError, DamagedFileError
from triptych.system.checked import discard, reading
from triptych.system.files import replace_atomically, writing_to
from triptych.system.paths import cache_home
from triptych.tracking.client import connect
from triptych.tracking.links import VIEW_TAG, link_to_charts, link_to_run, link_to_view, select_panels
from triptych.tracking.tags import (
    BOARD,
    COMPARISON,
    FLOW_RUN_URL,
    LABEL,
    MODEL,
    PANEL,
    PREFIX,
    REPEAT,
    RESTORED,
    ROLE,
    RUNNING,
    count_epochs,
    list_shared,
    read_tags,
    search,
)

REPORT_FILE = "report.html"
# The roles of runs that are listed, and the artifact that holds the result of each.
RESULT_FILES = {"comparison": "comparison.json", "study": "trials.json", "amount": "amount.json"}
# Those of which the last one of a board is listed.
LAST = ("comparison", "amount")


@dataclass(frozen=True)
class PanelRun:
    """A run of one panel, as `triptych show` prints it.

    Attributes:
        board: the board's name.
        comparison: the comparison's id.
        panel: the panel's name.
        label: the panel's name as reports print it.
        repeat: number of the repeat, from 0.
        run_id: MLflow's run id.
        status: MLflow's status of the run.
        metrics: the last value of every metric.
        restored_epochs: epochs restored from an earlier, identical training, with their times.
    """

    board: str
    comparison: str
    panel: str
    label: str
    repeat: int
    run_id: str
    status: str
    metrics: dict[str, float]
    restored_epochs: int = 0


@dataclass(frozen=True)
class RecordedRun:
    """A comparison, a study or learning curves, as `triptych show` prints them.

    Attributes:
        role: "comparison", "study" or "amount".
        name: the id of a comparison, the panel of a study, or the run's id of learning curves.
        board: the board's name.
        status: MLflow's status of its run.
        started: when its run started.
        ended: when its run ended; None while it is running.
        verdict: the result in one sentence; empty if it ended without one.
        missing: the panels and repeats that failed, with their errors.
        address: MLflow's page with its charts.
        flow_run: Prefect's page of the flow run that worked on it last; None if there is no such page.
        panels: the runs of its panels; empty for other roles.
    """

    role: str
    name: str
    board: str
    status: str
    started: datetime
    ended: datetime | None
    verdict: str
    missing: list[str]
    address: str
    flow_run: str | None
    panels: list[PanelRun]


def find_panel_runs(experiment_id: str, comparison: str) -> list[Run]:
    """Return the panel runs that a comparison started, in this order; it may share others."""
    return search(connect(), [experiment_id], {COMPARISON: comparison, ROLE: "panel"})[::-1]


def find_compared_runs(experiment_id: str, comparison: Run) -> list[Run]:
    """Return the panel runs of a comparison, those that it shares with earlier ones first.

    Args:
        experiment_id: MLflow's id of the board's experiment.
        comparison: the run of the comparison.
    """
    own = find_panel_runs(experiment_id, read_tags(comparison)[COMPARISON])
    # One that was not whole was trained again; one whose own training was interrupted may be shared after all.
    trained = {_name_repeat(run) for run in own if MODEL in read_tags(run)}
    shared = {name: run_id for name, run_id in list_shared(comparison).items() if name not in trained}
    if not shared:
        return own
    found = connect().search_runs([experiment_id], select_panels("", runs=[*shared.values()]))
    return [*found, *(run for run in own if _name_repeat(run) not in shared)]


def _find_deleted(comparison: Run, panels: list[Run]) -> list[tuple[str, str]]:
    """Return the panels, as PANEL.REPEAT, and the ids of the runs that a comparison shares, but that are gone."""
    found = {_name_repeat(run) for run in panels}
    return [(name, run_id) for name, run_id in list_shared(comparison).items() if name not in found]


def _name_repeat(panel: Run) -> str:
    tags = read_tags(panel)
    return f"{spell_safely(tags[PANEL])}.{tags[REPEAT]}"


def list_charted(experiment_id: str, comparison: Run) -> list[str]:
    """Return the ids of the panel runs of a comparison if it shares some; empty if a search by its tag finds all."""
    runs = find_compared_runs(experiment_id, comparison) if list_shared(comparison) else []
    return [run.info.run_id for run in runs]


def find_recorded(since: datetime | None = None) -> list[RecordedRun]:
    """Return the last comparison and the last learning curves of each board.

    Args:
        since: if given, return all that was active since then instead, studies too, the oldest first.
    """
    client = connect()
    experiments = sorted(client.search_experiments(), key=lambda experiment: experiment.name)
    if since is None:
        found = [
            run
            for one in experiments
            for role in LAST
            for run in search(client, [one.experiment_id], {ROLE: role}, most=1)
        ]
    else:
        found = _find_active(client, [one.experiment_id for one in experiments], since)
    boards = {experiment.experiment_id: experiment for experiment in experiments}
    return [_describe_recorded(client, boards[run.info.experiment_id], run) for run in found]


def _find_active(client: mlflow.MlflowClient, experiments: list[str], since: datetime) -> list[Run]:
    """Return what is running or ended after `since`, the oldest first; what was continued may have started long before.

    A run that was continued still has the time at which it ended first.
    """
    active = (RUNNING, f"attributes.end_time >= {since.timestamp() * 1000:.0f}")
    runs = [
        run
        for role in RESULT_FILES
        for where in active
        for run in search(client, experiments, {ROLE: role}, where=where)
    ]
    return sorted({run.info.run_id: run for run in runs}.values(), key=lambda run: run.info.start_time)


def _describe_recorded(client: mlflow.MlflowClient, experiment: Experiment, run: Run) -> RecordedRun:
    tags = read_tags(run)
    comparison = tags.get(COMPARISON)
    panels = find_compared_runs(experiment.experiment_id, run) if comparison else []
    result = load_result(client, run, RESULT_FILES[tags[ROLE]])
    return RecordedRun(
        role=tags[ROLE],
        name=comparison or tags.get(PANEL, run.info.run_id),
        board=experiment.name,
        status=run.info.status,
        started=_read_time(run.info.start_time),
        ended=None if run.info.status == "RUNNING" else _read_time(run.info.end_time),
        verdict=result.get("verdict", ""),
        missing=[
            *(f"{one['label']} ({one['reason']})" for one in result.get("missing", [])),
            *(f"{name} (run {run_id} was deleted in MLflow)" for name, run_id in _find_deleted(run, panels)),
        ],
        address=_link_to_recorded(experiment, run),
        flow_run=tags.get(FLOW_RUN_URL),
        panels=[_describe_run(panel, str(comparison)) for panel in panels],
    )


def load_result(client: mlflow.MlflowClient, run: Run, file: str) -> dict[str, Any]:
    """Return the result that a run logged at its end; empty if it ended before, a verdict that says so if damaged."""
    with TemporaryDirectory() as folder, suppress(MlflowException, FileNotFoundError):
        downloaded = Path(client.download_artifacts(run.info.run_id, file, folder))
        try:
            with reading(downloaded):
                result = json.loads(downloaded.read_text(encoding="utf-8"))
                # Learning curves are a list, one for each panel.
                return result if isinstance(result, dict) else {"verdict": "; ".join(one["sentence"] for one in result)}
        except DamagedFileError as damaged:
            return {"verdict": f"runs:/{run.info.run_id}/{file} is damaged ({damaged.reason})"}
    return {}


def _link_to_recorded(experiment: Experiment, run: Run) -> str:
    comparison = read_tags(run).get(COMPARISON)
    if comparison is None:
        return link_to_run(experiment.experiment_id, run.info.run_id)
    if VIEW_TAG + comparison in experiment.tags:
        return link_to_view(experiment.experiment_id, comparison)
    # The view was deleted on MLflow's page, and a link to it would show an error.
    prefix = PREFIX if PREFIX + COMPARISON in run.data.tags else ""
    return link_to_charts(experiment.experiment_id, comparison, prefix, list_charted(experiment.experiment_id, run))


def _read_time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def fetch_report(reference: str | None = None) -> Path:
    """Download the report of a comparison and return its file.

    Args:
        reference: the comparison, its run id, or a board for its last one; None means the last one of all boards.

    Raises:
        ConfigError: there is no such comparison, or it has no report.
        StorageError: there is no room for it, or no permission.
    """
    client = connect()
    run = find_comparison(client, reference)
    comparison = read_tags(run)[COMPARISON]
    file = cache_home() / "reports" / comparison / REPORT_FILE
    if file.is_dir():
        discard(DamagedFileError(file, "it is a folder"))
    with TemporaryDirectory() as folder, writing_to(Path(folder)):
        try:
            downloaded = client.download_artifacts(run.info.run_id, REPORT_FILE, folder)
        except (MlflowException, FileNotFoundError) as error:
            text = f"comparison {comparison} has no report, and its status is {run.info.status}"
            raise ConfigError(f"{text}: run `triptych compare` again") from error
        with replace_atomically(file) as partial:
            shutil.copyfile(downloaded, partial)
    return file


def find_comparison(client: mlflow.MlflowClient, reference: str | None) -> Run:
    """Return the run of a comparison.

    Args:
        client: of the tracking store.
        reference: the comparison, its run id, or a board for its last one; None means the last one of all boards.

    Raises:
        ConfigError: there is no such comparison.
    """
    boards = {experiment.name: experiment.experiment_id for experiment in client.search_experiments()}
    experiments = [*boards.values()]
    if reference is None:
        found = search(client, experiments, {ROLE: "comparison"}, most=1)
    elif reference in boards:
        found = search(client, [boards[reference]], {ROLE: "comparison"}, most=1)
    elif not re.fullmatch(r"[\w-]+", reference):  # it would not pass for a value in MLflow's filter
        found = []
    else:
        found = search(client, experiments, {COMPARISON: reference, ROLE: "comparison"}, most=1)
        found += search(client, experiments, {ROLE: "comparison"}, where=f"attributes.run_id = '{reference}'", most=1)
    if found:
        return found[0]
    if reference is None:
        raise ConfigError("no comparison yet: run `triptych compare`")
    raise ConfigError(f"no comparison {reference!r}, nor a board of that name: `triptych show` lists them")


def _describe_run(run: Run, comparison: str) -> PanelRun:
    tags = read_tags(run)
    shared = tags[COMPARISON] != comparison
    return PanelRun(
        board=tags[BOARD],
        comparison=comparison,
        panel=tags[PANEL],
        label=tags[LABEL],
        repeat=int(tags[REPEAT]),
        run_id=run.info.run_id,
        status=run.info.status,
        metrics=dict(run.data.metrics),
        restored_epochs=count_epochs(run) if shared else int(tags.get(RESTORED, 0)),
    )
