"""The comparison of a board before another one."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from triptych.evaluation.page.changes import PreviousComparison
from triptych.tracking.client import connect
from triptych.tracking.queries import RESULT_FILES
from triptych.tracking.tags import COMPARISON, REPORTED, ROLE, TEST_SET, read_tags, search


def recall_previous(experiment_id: str, run_id: str) -> PreviousComparison | None:
    """Return the last comparison that ended before another one; None if there is none with a result.

    Args:
        experiment_id: MLflow's id of the board's experiment.
        run_id: of the other comparison.
    """
    client = connect()
    started = client.get_run(run_id).info.start_time
    # One without some panels has failed, and has a result all the same.
    tags = {ROLE: "comparison", REPORTED: "true"}
    found = search(client, [experiment_id], tags, where=f"attributes.start_time < {started}", most=1)
    return _describe(found[0]) if found else None


def _describe(run: Run) -> PreviousComparison | None:
    try:
        result = json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/{RESULT_FILES['comparison']}"))
    except (MlflowException, OSError, ValueError):
        return None
    tags = read_tags(run)
    return PreviousComparison(
        name=tags[COMPARISON],
        date=f"{datetime.fromtimestamp(run.info.start_time / 1000, UTC).astimezone():%Y-%m-%d}",
        result=result,
        data_digest=tags.get("data_sha256", ""),
        test_set_id=tags.get(TEST_SET, ""),
        sizes={
            part: int(tags[f"images.{part}"]) for part in ("train", "validation", "test") if f"images.{part}" in tags
        },
    )
