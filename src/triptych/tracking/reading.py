"""Comparisons, found again."""

from __future__ import annotations

from typing import Any

from triptych.tracking.records import PanelRun
from triptych.tracking.store import connect, link_to_charts


def find_panel_runs(experiment_id: str, comparison: str) -> list[Any]:
    """Return the panel runs of a comparison, in the order in which they were started."""
    query = f"tags.comparison = '{comparison}' and tags.role = 'panel'"
    return list(connect().search_runs([experiment_id], query, order_by=["attributes.start_time ASC"]))


def find_last_comparisons() -> list[tuple[str, str, list[PanelRun]]]:
    """Return for each board the id of its last comparison, the link to its charts and its panel runs."""
    client = connect()
    found = []
    for experiment in sorted(client.search_experiments(), key=lambda experiment: experiment.name):
        last = client.search_runs(
            [experiment.experiment_id], "tags.role = 'comparison'", max_results=1, order_by=["start_time DESC"]
        )
        for run in last:
            comparison = run.data.tags["comparison"]
            panels = [_describe_run(panel_run) for panel_run in find_panel_runs(experiment.experiment_id, comparison)]
            found.append((comparison, link_to_charts(experiment.experiment_id, comparison), panels))
    return found


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
