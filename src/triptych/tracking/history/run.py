"""The run `history` of a board: a metric for each panel and quantity, whose steps are the nights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import mlflow
from mlflow.entities import Metric
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from triptych.config.names import spell_safely
from triptych.evaluation.history.nights import LONGEST_TEXT, Night
from triptych.tracking.client import connect
from triptych.tracking.history.nights import FOLDER, HISTORY, find_history_run, merge_nights
from triptych.tracking.registry.champions import Verdict
from triptych.tracking.registry.versions import find_champion
from triptych.tracking.runs import open_run
from triptych.tracking.tags import BOARD, LABEL, ROLE, read_tags

# MLflow takes at most 1000 metrics in one call.
METRICS_PER_CALL = 1000
Loaded = tuple[Sequence[Night], Sequence[Night]]
NOTE = (
    "The nights of board {board}, one after the other: a step of a metric is a night. `triptych history {board}` "
    "prints them; `nights/` holds what it reads. Old comparisons may be deleted, this run stays."
)


def record_night(
    board: str, experiment_id: str, loaded: Loaded, tonight: Night, verdict: Verdict | None
) -> list[Night]:
    """Add a night to the run `history` of its board, and those before that it lacks; return all, the oldest first.

    A night that is recorded again, after an interruption, has the same number, and is written once.

    Args:
        board: its name.
        experiment_id: MLflow's id of its experiment.
        loaded: its nights, as `load_nights` returns them.
        tonight: the night.
        verdict: what became of its challenger; None if there was none.
    """
    client = connect()
    recorded, others = loaded
    tonight = _add_champion(board, tonight, verdict)
    nights = merge_nights(recorded, [*(one for one in others if one.comparison != tonight.comparison), tonight])
    new = [night for night in nights if night not in recorded]
    run_id = _find_or_create(client, board, experiment_id)
    metrics = [Metric(name, value, night.started, night.number) for night in new for name, value in list_values(night)]
    for start in range(0, len(metrics), METRICS_PER_CALL):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_CALL])
    months = {night.month for night in new}
    for month, found in groupby(nights, key=lambda night: night.month):
        if month in months:
            lines = ",\n".join(json.dumps(night.as_json()) for night in found)
            client.log_text(run_id, f"[\n{lines}\n]\n", f"{FOLDER}/{month}.json")
    return nights


def _add_champion(board: str, night: Night, verdict: Verdict | None) -> Night:
    version = find_champion(board)
    champion = f"{read_tags(version).get(LABEL, board)} (version {version.version})" if version else ""
    if verdict is None:
        return replace(night, champion=champion)
    return replace(night, champion=champion, decision=verdict.state, reason=verdict.reason[:LONGEST_TEXT])


def list_values(night: Night) -> Iterator[tuple[str, float]]:
    """Yield the metrics of a night with their values."""
    for one in night.panels:
        yield f"test_accuracy.{spell_safely(one.panel)}", one.accuracy
        yield f"test_accuracy_low.{spell_safely(one.panel)}", one.low
        yield f"test_accuracy_high.{spell_safely(one.panel)}", one.high
        yield f"test_log_loss.{spell_safely(one.panel)}", one.log_loss
        yield f"seconds.{spell_safely(one.panel)}", one.seconds
    for part, number in night.images.items():
        yield f"images.{part}", float(number)
    yield "missing", float(len(night.missing))
    yield "failed", float(night.failed)
    if night.decision:
        yield "new_champion", float(night.decision == "new")
        yield "refused", float(night.decision == "refused")
    if night.drift:
        yield "drift", night.drift.distance
        yield "drift_p_value", night.drift.p_value


def _find_or_create(client: mlflow.MlflowClient, board: str, experiment_id: str) -> str:
    found = find_history_run(client, experiment_id)
    if found is None:
        tags = {ROLE: HISTORY, BOARD: board, MLFLOW_RUN_NOTE: NOTE.format(board=board)}
        run_id = open_run(client, experiment_id, HISTORY, tags)
    elif found.info.status == "RUNNING":
        run_id = found.info.run_id
    else:
        return str(found.info.run_id)
    # It is never active, so that nothing that looks for interrupted runs finds it.
    client.set_terminated(run_id)
    return str(run_id)
