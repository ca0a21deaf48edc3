"""The view of a comparison on MLflow's page: which runs, in which order, and which charts come first.

MLflow keeps a view under a key, as a tag of the experiment, and lists it in the page's menu of views. It is
written as that page itself writes it, so that it can be changed and deleted there. Runs are not grouped: MLflow
colours groups by a hash of their names, which gives two panels one colour sooner or later. Repeats stand together by
name instead, in the colour of their panel.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from typing import Any
from urllib.parse import quote

import mlflow

from triptych.tracking.client import tracking_uri

VIEW_TAG = "mlflow.sharedViewState."
SECTION = "model-metrics"
LINE, BAR = "LINE", "BAR"

# The other metrics follow by name.
FIRST_CHARTS = {
    "val_loss": LINE,
    "val_accuracy": LINE,
    "test_accuracy": BAR,
    "train_loss": LINE,
    "train_accuracy": LINE,
    "test_log_loss": BAR,
    "test_macro_f1": BAR,
    "test_ece": BAR,
    "fit_seconds": BAR,
    "predict_images_per_second": BAR,
}

TABLE_METRICS = ("test_accuracy", "test_macro_f1", "test_log_loss", "final_val_accuracy", "fit_seconds", "parameters")

# What the page needs to know of each kind of chart beside the metric; it has no defaults for views.
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
}

# More runs than any comparison has; MLflow would draw the first ten.
RUNS_IN_A_CHART = 100


def save_view(client: mlflow.MlflowClient, experiment_id: str, comparison: str) -> None:
    """Keep the view of a comparison in its experiment, under the comparison's id."""
    state = json.dumps(describe_view(comparison), separators=(",", ":"))
    now = int(time.time() * 1000)
    view = {"name": f"comparison {comparison}", "createdAt": now, "updatedAt": now, "state": _deflate(state)}
    client.set_experiment_tag(experiment_id, VIEW_TAG + comparison, json.dumps(view))


def link_to_view(experiment_id: str, comparison: str) -> str:
    """Return the address of MLflow's page with the curves and final metrics of just this comparison."""
    page = f"{page_address()}/#/experiments/{experiment_id}/runs"
    return f"{page}?workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey={comparison}"


def describe_view(comparison: str) -> dict[str, Any]:
    """Return the state of MLflow's page that shows a comparison, as JSON values."""
    section = {"uuid": SECTION, "name": "Model metrics", "display": True, "isGenerated": True, "deleted": False}
    return {
        "searchFilter": select_panels(comparison),
        "orderByKey": "tags.`mlflow.runName`",
        "orderByAsc": True,
        "selectedColumns": [*(f"metrics.`{name}`" for name in TABLE_METRICS), "attributes.`Models`"],
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [_describe_chart(metric, kind) for metric, kind in FIRST_CHARTS.items()],
        # Marked as reordered, the section takes charts of further metrics at its end, not by name.
        "compareRunSections": [{**section, "isReordered": True}],
    }


def _describe_chart(metric: str, kind: str) -> dict[str, Any]:
    own = {"uuid": metric, "type": kind, "metricKey": metric, "displayName": metric, "metricSectionId": SECTION}
    common = {"isGenerated": True, "deleted": False, "runsCountToCompare": RUNS_IN_A_CHART}
    return {**own, **common, **CHART_DEFAULTS[kind]}


def _deflate(text: str) -> str:
    """Return a text as MLflow's page compresses views."""
    return "deflate;" + base64.b64encode(zlib.compress(text.encode())).decode()


LOCAL_PAGE = "http://127.0.0.1:5000"


def page_address() -> str:
    """Return where MLflow's pages are: the tracking server, or where `make ui` serves the local store."""
    uri = tracking_uri()
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else LOCAL_PAGE


def select_panels(comparison: str) -> str:
    """Return the search for the panel runs of a comparison."""
    return f"tags.comparison = '{comparison}' and tags.role = 'panel'"


def link_to_charts(experiment_id: str, comparison: str) -> str:
    """Return the address of MLflow's page with the charts of just this comparison, in MLflow's own order."""
    query = quote(select_panels(comparison), safe="")
    return (
        f"{page_address()}/#/experiments/{experiment_id}/runs"
        f"?workflowType=machine_learning&searchFilter={query}&compareRunsMode=CHART"
    )


def link_to_run(experiment_id: str, run_id: str) -> str:
    """Return the address of MLflow's page of one run."""
    return f"{page_address()}/#/experiments/{experiment_id}/runs/{run_id}"
