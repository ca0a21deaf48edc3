"""Comparisons, found again."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from triptych.errors import ConfigError
from triptych.system.paths import cache_home
from triptych.tracking.client import connect
from triptych.tracking.links import VIEW_TAG, link_to_charts, link_to_run, link_to_view, select_panels
from triptych.tracking.records import PanelRun, RecordedRun

REPORT_FILE = "report.html"
# What is read again, and the file that holds what came out of it.
ROLES = {"comparison": "comparison.json", "study": "trials.json"}


def find_panel_runs(experiment_id: str, comparison: str) -> list[Any]:
    """Return the panel runs of a comparison, in the order in which they were started."""
    return list(
        connect().search_runs([experiment_id], select_panels(comparison), order_by=["attributes.start_time ASC"])
    )


def find_recorded(since: datetime | None = None) -> list[RecordedRun]:
    """Return the last comparison of each board.

    Args:
        since: in place of them, all comparisons and studies that something was done for from then on, the oldest first.
    """
    client = connect()
    experiments = sorted(client.search_experiments(), key=lambda experiment: experiment.name)
    if since is None:
        found = [(experiment, _search(client, experiment, "comparison", 1)) for experiment in experiments]
        return [_describe_recorded(client, experiment, run) for experiment, runs in found for run in runs]
    found = [(experiment, _search(client, experiment, role, 1000)) for experiment in experiments for role in ROLES]
    recent = [(experiment, run) for experiment, runs in found for run in runs if _is_of(run, since)]
    recorded = [_describe_recorded(client, experiment, run) for experiment, run in recent]
    return sorted(recorded, key=lambda one: one.started)


def _search(client: mlflow.MlflowClient, experiment: Any, role: str, most: int) -> list[Any]:
    query, order = f"tags.role = '{role}'", ["attributes.start_time DESC"]
    return list(client.search_runs([experiment.experiment_id], query, max_results=most, order_by=order))


def _is_of(run: Any, since: datetime) -> bool:
    """Return whether a run goes on or has ended after a moment; one that was taken up may have begun long before."""
    return run.info.status == "RUNNING" or bool(run.info.end_time >= since.timestamp() * 1000)


def _describe_recorded(client: mlflow.MlflowClient, experiment: Any, run: Any) -> RecordedRun:
    tags = run.data.tags
    comparison = tags.get("comparison")
    panels = find_panel_runs(experiment.experiment_id, comparison) if comparison else []
    result = _load_result(client, run, ROLES[tags["role"]])
    return RecordedRun(
        role=tags["role"],
        name=comparison or tags["panel"],
        board=experiment.name,
        status=run.info.status,
        started=_read_time(run.info.start_time),
        ended=None if run.info.status == "RUNNING" else _read_time(run.info.end_time),
        verdict=result.get("verdict", ""),
        missing=[f"{one['label']} ({one['reason']})" for one in result.get("missing", [])],
        address=_link_to_recorded(experiment, run),
        flow_run=tags.get("prefect.flow_run_url"),
        panels=[_describe_run(panel) for panel in panels],
    )


def _load_result(client: mlflow.MlflowClient, run: Any, file: str) -> dict[str, Any]:
    """Return what a run logged at its end, nothing where it ended before that."""
    with TemporaryDirectory() as folder, suppress(MlflowException, OSError):
        downloaded = client.download_artifacts(run.info.run_id, file, folder)
        result: dict[str, Any] = json.loads(Path(downloaded).read_text(encoding="utf-8"))
        return result
    return {}


def _link_to_recorded(experiment: Any, run: Any) -> str:
    if "comparison" not in run.data.tags:
        return link_to_run(experiment.experiment_id, run.info.run_id)
    comparison = run.data.tags["comparison"]
    # Views can be deleted on MLflow's page, and a link to a deleted one shows an error.
    link = link_to_view if VIEW_TAG + comparison in experiment.tags else link_to_charts
    return link(experiment.experiment_id, comparison)


def _read_time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def fetch_report(reference: str | None = None) -> Path:
    """Download the report of a comparison and return its file.

    Args:
        reference: the comparison or its run id; None means the last one of all boards.

    Raises:
        ConfigError: there is no such comparison, or it ended before its report.
    """
    client = connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.role = 'comparison'", order_by=["start_time DESC"], max_results=1000)
    wanted = [run for run in runs if reference in (None, run.info.run_id, run.data.tags["comparison"])]
    if not wanted:
        raise ConfigError(f"no comparison {reference or ''!s}".rstrip() + ": `triptych show` lists the last ones")
    run = wanted[0]
    try:
        folder = cache_home() / "reports" / run.data.tags["comparison"]
        folder.mkdir(parents=True, exist_ok=True)
        return Path(client.download_artifacts(run.info.run_id, REPORT_FILE, str(folder)))
    except (MlflowException, OSError) as error:
        told = f"comparison {run.data.tags['comparison']} ended as {run.info.status}, without a report"
        raise ConfigError(f"{told}: run `triptych compare` again") from error


def _describe_run(run: Any) -> PanelRun:
    tags = run.data.tags
    return PanelRun(
        board=tags["board"],
        comparison=tags["comparison"],
        panel=tags["panel"],
        label=tags["label"],
        repeat=int(tags["repeat"]),
        run_id=run.info.run_id,
        status=run.info.status,
        metrics=dict(run.data.metrics),
    )
