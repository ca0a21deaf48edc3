"""Runs: opened, taken up again, and closed whatever happens.

Runs are named by id everywhere: MLflow's own stack of active runs belongs to a thread.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import mlflow
from mlflow.entities import Param
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from triptych.boards import BoardRecord
from triptych.figures import COLOURS
from triptych.panel_jobs import PanelJob
from triptych.tracking.provenance import describe_board, describe_dataset
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.store import connect, find_or_create_experiment
from triptych.tracking.views import save_view

# MLflow takes at most 100 parameters in one call.
PARAMETERS_PER_CALL = 100
# MLflow's charts take a run's colour from this tag; left to themselves they give two panels the same one.
RUN_COLOUR = "mlflow.runColor"


def start_comparison(board: BoardRecord, tags: Mapping[str, str]) -> ComparisonRecord:
    """Open the run named `comparison` in the board's experiment, and log what is compared on what.

    Args:
        board: the prepared board.
        tags: who runs it, for instance the flow run.
    """
    client = connect()
    experiment_id = find_or_create_experiment(client, board.config.name)
    comparison = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    common = {**tags, "comparison": comparison, "role": "comparison", **describe_board(board)}
    run_id = create_run(client, experiment_id, "comparison", common, board)
    if board.notes:
        client.set_tag(run_id, MLFLOW_RUN_NOTE, "\n\n".join(board.notes))
    client.log_artifact(run_id, str(board.split_file), "split")
    save_view(client, experiment_id, comparison)
    return ComparisonRecord(comparison, experiment_id, run_id, board)


@contextmanager
def panel_run(record: ComparisonRecord, job: PanelJob, tags: Mapping[str, str]) -> Iterator[str]:
    """Open the run of a panel and yield its id; the run ends as FINISHED, or as FAILED if the block raises."""
    client = connect()
    own = {"role": "panel", "panel": job.panel, "label": job.label, "repeat": str(job.repeat)}
    own[RUN_COLOUR] = COLOURS[job.board.config.panels.index(job.panel) % len(COLOURS)]
    common = {**tags, **own, "comparison": record.comparison, **describe_board(job.board)}
    run_id = create_run(client, record.experiment_id, job.run_label, common, job.board)
    with resume_run(run_id):
        yield run_id


@contextmanager
def resume_run(run_id: str) -> Iterator[None]:
    """Make a run the active one of this thread while the block runs; it fails with the block."""
    connect()
    with mlflow.start_run(run_id=run_id):
        yield


def close_runs(flow_run_id: str, status: str) -> int:
    """Close what a flow run that ended early left in state RUNNING; return how many runs that were."""
    client = connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    left = client.search_runs(experiments, f"tags.`prefect.flow_run_id` = '{flow_run_id}' and status = 'RUNNING'")
    for run in left:
        client.set_terminated(run.info.run_id, status)
    return len(left)


def create_run(
    client: mlflow.MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str], board: BoardRecord
) -> str:
    """Open a run in state RUNNING with every field of a board's configuration, and return its id."""
    run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
    run_id = str(run.info.run_id)
    fields = [Param(key, str(value)) for key, value in board.config.flat().items()]
    for start in range(0, len(fields), PARAMETERS_PER_CALL):
        client.log_batch(run_id, params=fields[start : start + PARAMETERS_PER_CALL])
    client.log_inputs(run_id, [describe_dataset(board)])
    return run_id
