"""The run of a board's learning curves, with the number of training images as the step of its metrics."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import mlflow
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from triptych.config.names import spell_safely
from triptych.data.boards import PreparedBoard
from triptych.evaluation.amount.forecast import Amount, Estimate
from triptych.evaluation.amount.page import render_amount_page
from triptych.system.processes import find_host
from triptych.tracking.client import connect, find_or_create_experiment
from triptych.tracking.links import link_to_run
from triptych.tracking.provenance import describe_board
from triptych.tracking.runs import create_run, resume_run
from triptych.tracking.tags import HOST, ROLE, select

PAGE_FILE, RESULT_FILE = "amount.html", "amount.json"


def record_amounts(prepared: PreparedBoard, amounts: Sequence[Amount]) -> str:
    """Create a run in the board's experiment with the curves, their page and everything as JSON; return its address.

    Args:
        prepared: the board.
        amounts: the learning curve of each panel, one or more.
    """
    page = render_amount_page(prepared.config.name, amounts)
    client = connect()
    experiment_id = find_or_create_experiment(client, prepared.config.name)
    tags = {ROLE: "amount", HOST: find_host(), **describe_board(prepared)}
    run_id = create_run(client, experiment_id, "amount", tags, prepared)
    with resume_run(run_id):
        client.log_batch(run_id, metrics=[metric for amount in amounts for metric in _list_metrics(amount)])
        client.log_text(run_id, page, PAGE_FILE)
        client.log_text(run_id, json.dumps([amount.as_json() for amount in amounts], indent=1), RESULT_FILE)
    return link_to_run(experiment_id, run_id)


def recall_amounts(experiment_id: str) -> list[str]:
    """Return what the last learning curves of a board said, with their date; nothing if there are none, or no more."""
    client = connect()
    query = f"{select({ROLE: 'amount'})} and attributes.status = 'FINISHED'"
    found = client.search_runs([experiment_id], query, max_results=1)
    if not found:
        return []
    info = found[0].info
    try:
        amounts = json.loads(mlflow.artifacts.load_text(f"runs:/{info.run_id}/{RESULT_FILE}"))
    except (MlflowException, OSError):
        return []
    date = datetime.fromtimestamp(info.start_time / 1000, UTC).astimezone()
    return [f"{amount['sentence']} (measured on {date:%Y-%m-%d})" for amount in amounts]


def _list_metrics(amount: Amount) -> list[Metric]:
    """Return the points of a curve, and those of its forecast under a name of their own."""
    now = int(time.time() * 1000)

    def list_points(name: str, points: Sequence[Estimate]) -> list[Metric]:
        return [
            Metric(f"{spell_safely(amount.panel)}/{name}{suffix}", value, now, point.images)
            for point in points
            for suffix, value in (("", point.value), ("_low", point.low), ("_high", point.high))
        ]

    return [
        *list_points("test_accuracy", amount.measured),
        *list_points("forecast_accuracy", amount.forecast),
        *list_points("gain", amount.gains),
        *list_points("limit", [amount.limit]),
        *list_points("exponent", [amount.exponent]),
    ]
