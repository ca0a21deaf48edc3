"""The view of a comparison on MLflow's page: its runs, their order, and the charts that come first.

MLflow stores a view as a tag of the experiment, and lists it in the page's menu of views. It is written in the format
of the page itself, so that it can be changed and deleted there. Runs are not grouped, because MLflow colours groups
by a hash of their names, and two panels may get the same colour. Repeats are sorted by name instead, and have the
colour of their panel.
"""

from __future__ import annotations

import base64
import json
import re
import time
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

import mlflow

from triptych.system.addresses import tracking_uri
from triptych.tracking.tags import COMPARISON, PREFIX, ROLE, select

VIEW_TAG = "mlflow.sharedViewState."
# The views of comparisons; those that users share on the page have other keys.
OWN_VIEW = re.compile(re.escape(VIEW_TAG) + r"\d{8}-\d{6}-[0-9a-f]{6}")
VIEWS_KEPT = 20
# A store of an earlier version has a view for each of its comparisons.
VIEWS_DELETED_AT_ONCE = 25
LINE, BAR, IMAGE = "LINE", "BAR", "IMAGE"
# The images of a comparison on which its two best panels disagree.
DISAGREEMENTS = "disagreements"
# Shown at once.
FIRST_CHARTS = {
    "test_accuracy": BAR,
    "val_accuracy": LINE,
    "val_log_loss": LINE,
    "test_log_loss": BAR,
    "test_macro_f1": BAR,
    DISAGREEMENTS: IMAGE,
    "fit_seconds": BAR,
    "predict_images_per_second": BAR,
    "test_ece": BAR,
}
FIRST_SECTION = "results"
# The page adds the charts of all other metrics to the section of this name, which a click opens.
OTHER_SECTION = "Model metrics"

TABLE_METRICS = ("test_accuracy", "test_macro_f1", "test_log_loss", "final_val_accuracy", "fit_seconds", "parameters")

# Settings of each kind of chart, for which the page has no defaults in views.
CHART_DEFAULTS: dict[str, dict[str, Any]] = {
    LINE: {
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    },
    BAR: {},
    IMAGE: {"imageKeys": [DISAGREEMENTS], "step": 0, "showRunParams": False},
}

# More runs than any comparison has; MLflow's default is ten.
RUNS_IN_A_CHART = 100


def save_view(
    client: mlflow.MlflowClient,
    experiment_id: str,
    comparison: str,
    runs: Sequence[str] = (),
    *,
    pictured: bool = False,
) -> None:
    """Store the view of a comparison in its experiment, under the comparison's id.

    Args:
        client: of the tracking store.
        experiment_id: MLflow's id of the board's experiment.
        comparison: the comparison's id.
        runs: the ids of its runs, if it shares some with an earlier comparison.
        pictured: whether it has a picture of disagreements.
    """
    state = json.dumps(describe_view(comparison, runs, pictured=pictured), separators=(",", ":"))
    now = int(time.time() * 1000)
    view = {"name": f"comparison {comparison}", "createdAt": now, "updatedAt": now, "state": _deflate(state)}
    client.set_experiment_tag(experiment_id, VIEW_TAG + comparison, json.dumps(view))
    # Everything that asks for an experiment gets all its tags. Keys of comparisons begin with their time.
    views = sorted(tag for tag in client.get_experiment(experiment_id).tags if OWN_VIEW.fullmatch(tag))
    for tag in views[:-VIEWS_KEPT][:VIEWS_DELETED_AT_ONCE]:
        client.delete_experiment_tag(experiment_id, tag)


def link_to_view(experiment_id: str, comparison: str) -> str:
    """Return the address of MLflow's page with the curves and final metrics of one comparison."""
    return f"{_list_runs(experiment_id)}&compareRunsMode=CHART&viewStateShareKey={comparison}"


def describe_view(comparison: str, runs: Sequence[str] = (), *, pictured: bool = False) -> dict[str, Any]:
    """Return the state of MLflow's page that shows one comparison, as JSON values."""
    sections = {FIRST_SECTION: "Results", OTHER_SECTION: OTHER_SECTION}
    return {
        "searchFilter": select_panels("", runs=runs) if runs else select({COMPARISON: comparison}),
        "orderByKey": "tags.`mlflow.runName`",
        "orderByAsc": True,
        "selectedColumns": [*(f"metrics.`{name}`" for name in TABLE_METRICS), "attributes.`Models`"],
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [
            _describe_chart(metric, kind) for metric, kind in FIRST_CHARTS.items() if pictured or kind != IMAGE
        ],
        "compareRunSections": [
            {"uuid": key, "name": name, "display": key == FIRST_SECTION, "isGenerated": True, "deleted": False}
            | {"isReordered": key == FIRST_SECTION}
            for key, name in sections.items()
        ],
    }


def _describe_chart(metric: str, kind: str) -> dict[str, Any]:
    own = {"uuid": metric, "type": kind, "metricKey": metric, "displayName": metric, "metricSectionId": FIRST_SECTION}
    common = {"isGenerated": True, "deleted": False, "runsCountToCompare": RUNS_IN_A_CHART}
    return {**own, **common, **CHART_DEFAULTS[kind]}


def _deflate(text: str) -> str:
    """Return a text in the compressed form in which MLflow's page stores views."""
    return "deflate;" + base64.b64encode(zlib.compress(text.encode())).decode()


LOCAL_PAGE = "http://127.0.0.1:5000"


def page_address() -> str:
    """Return the address of MLflow's pages: the tracking server, or the one that `make ui` starts."""
    uri = tracking_uri()
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else LOCAL_PAGE


def select_panels(comparison: str, prefix: str = PREFIX, runs: Sequence[str] = ()) -> str:
    """Return MLflow's filter for the panel runs of a comparison: by their ids if given, or by tags with a prefix."""
    if runs:
        return f"attributes.run_id IN ({', '.join(map(repr, runs))})"
    return select({COMPARISON: comparison, ROLE: "panel"}, prefix)


def link_to_charts(experiment_id: str, comparison: str, prefix: str = PREFIX, runs: Sequence[str] = ()) -> str:
    """Return the address of MLflow's page with the charts of one comparison, in MLflow's own order."""
    query = quote(select_panels(comparison, prefix, runs), safe="")
    return f"{_list_runs(experiment_id)}&searchFilter={query}&compareRunsMode=CHART"


def link_to_run(experiment_id: str, run_id: str) -> str:
    """Return the address of MLflow's page of one run."""
    return f"{page_address()}/#/experiments/{experiment_id}/runs/{run_id}"


def link_to_comparisons(experiment_id: str) -> str:
    """Return the address of MLflow's page with the accuracies of all comparisons of a board."""
    query = quote(select({ROLE: "comparison"}), safe="")
    return f"{_list_runs(experiment_id)}&searchFilter={query}&compareRunsMode=CHART"


def link_to_curves(experiment_id: str, run_id: str, metrics: Sequence[str]) -> str:
    """Return the address of MLflow's page with some metrics of a run by epoch, in one chart."""
    values = {"runs": [run_id], "metric": metrics[0], "experiments": [experiment_id], "plot_metric_keys": list(metrics)}
    query = urlencode({name: json.dumps(value) for name, value in values.items()}, quote_via=quote)
    return f"{page_address()}/#/metric?{query}&x_axis=step"


def link_inside(link: str) -> str:
    """Return a link for a note or a description: MLflow's page resolves it, whatever its own address is.

    >>> link_inside("http://127.0.0.1:5000/#/experiments/1")
    '#/experiments/1'
    """
    return link[link.index("#") :]


def _list_runs(experiment_id: str) -> str:
    return f"{page_address()}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
