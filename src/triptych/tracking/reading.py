"""Comparisons, found again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from triptych.errors import ConfigError
from triptych.paths import cache_home
from triptych.tracking.records import PanelRun
from triptych.tracking.store import connect, link_to_charts, select_panels
from triptych.tracking.views import VIEW_TAG, link_to_view

REPORT_FILE = "report.html"


def find_panel_runs(experiment_id: str, comparison: str) -> list[Any]:
    """Return the panel runs of a comparison, in the order in which they were started."""
    return list(
        connect().search_runs([experiment_id], select_panels(comparison), order_by=["attributes.start_time ASC"])
    )


def find_last_comparisons(since: datetime | None = None) -> list[tuple[str, str, list[PanelRun]]]:
    """Return for each board the id of its last comparison, the link to its charts and its panel runs.

    Args:
        since: in place of the last one, all that were started from then on, the newest first.
    """
    client = connect()
    query, most = "tags.role = 'comparison'", 1
    if since is not None:
        query, most = f"{query} and attributes.start_time >= {int(since.timestamp() * 1000)}", 1000
    found = []
    for experiment in sorted(client.search_experiments(), key=lambda experiment: experiment.name):
        last = client.search_runs([experiment.experiment_id], query, max_results=most, order_by=["start_time DESC"])
        for run in last:
            comparison = run.data.tags["comparison"]
            panels = [_describe_run(panel_run) for panel_run in find_panel_runs(experiment.experiment_id, comparison)]
            # Views can be deleted on MLflow's page, and a link to a deleted one shows an error.
            link = link_to_view if VIEW_TAG + comparison in experiment.tags else link_to_charts
            found.append((comparison, link(experiment.experiment_id, comparison), panels))
    return found


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
