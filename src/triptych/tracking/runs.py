"""Runs: opened, taken up again, and closed whatever happens.

Runs are named by id everywhere: MLflow's own stack of active runs belongs to a thread.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import mlflow
from mlflow.entities import Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from triptych.data.boards import PreparedBoard
from triptych.evaluation.figures import COLOURS
from triptych.tracking.client import connect, find_or_create_experiment
from triptych.tracking.links import save_view
from triptych.tracking.provenance import describe_board, describe_dataset
from triptych.tracking.records import ComparisonRecord, TrainedPanel
from triptych.tracking.resume import FLOW_RUN, HOST, IDENTITY, claim, close_abandoned, find_host, release, take_up
from triptych.training.jobs import PanelJob

# MLflow takes at most 100 parameters in one call.
PARAMETERS_PER_CALL = 100
# MLflow's charts take a run's colour from this tag; left to themselves they give two panels the same one.
RUN_COLOUR = "mlflow.runColor"
# Tags of a panel's run, from when its model is logged: what is needed to go on without training again.
MODEL, RESTORED = "model_uri", "restored_epochs"


def start_comparison(
    prepared: PreparedBoard, tags: Mapping[str, str], identity: str, *, fresh: bool = False
) -> ComparisonRecord:
    """Open the run named `comparison` in the board's experiment, or take up the one that was cut off.

    What others left in state RUNNING when they were cut off is closed.

    Args:
        prepared: the prepared board.
        tags: who runs it, for instance the flow run.
        identity: what is compared: a hash of all that the results depend on.
        fresh: take up nothing but what the same flow run began, and no training from before that.

    Raises:
        ConcurrentRunError: another process of the same flow run is at work on it.
    """
    client = connect()
    experiment_id = find_or_create_experiment(client, prepared.config.name)
    found = take_up(client, experiment_id, identity, tags.get(FLOW_RUN), fresh=fresh)
    close_abandoned(client, experiment_id)
    if found is not None:
        comparison, run_id, started = found.data.tags["comparison"], found.info.run_id, found.info.start_time / 1000
        _reopen(client, run_id, {**tags, HOST: find_host()})
        save_view(client, experiment_id, comparison)
        return ComparisonRecord(comparison, experiment_id, run_id, prepared, started if fresh else None)
    started = time.time()
    comparison = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    claim(comparison)
    own = {"comparison": comparison, "role": "comparison", IDENTITY: identity, HOST: find_host()}
    run_id = create_run(client, experiment_id, "comparison", {**tags, **own, **describe_board(prepared)}, prepared)
    if prepared.notes:
        client.set_tag(run_id, MLFLOW_RUN_NOTE, "\n\n".join(prepared.notes))
    client.log_artifact(run_id, str(prepared.split_file), "split")
    save_view(client, experiment_id, comparison)
    return ComparisonRecord(comparison, experiment_id, run_id, prepared, started if fresh else None)


@contextmanager
def panel_run(record: ComparisonRecord, job: PanelJob, tags: Mapping[str, str]) -> Iterator[str]:
    """Open the run of a panel, or take up the one that was cut off, and yield its id.

    The run ends as FINISHED, or as FAILED if the block raises.
    """
    client = connect()
    run_id = _take_up_panel(client, record, job, tags) or _create_panel_run(client, record, job, tags)
    with resume_run(run_id, log_system_metrics=True):
        yield run_id


def find_panel_run(record: ComparisonRecord, job: PanelJob) -> Run | None:
    """Return the run of a panel in a comparison; None where it has not been started."""
    same = {"comparison": record.comparison, "role": "panel", "panel": job.panel, "repeat": str(job.repeat)}
    query = " and ".join(f"tags.{key} = '{value}'" for key, value in same.items())
    found = connect().search_runs([record.experiment_id], query, max_results=1)
    return found[0] if found else None


def find_trained(record: ComparisonRecord, job: PanelJob) -> TrainedPanel | None:
    """Return a panel that was trained before its comparison was cut off; None where it was not."""
    run = find_panel_run(record, job)
    if run is None or MODEL not in run.data.tags:
        return None
    return TrainedPanel(job, run.info.run_id, run.data.tags[MODEL], int(run.data.tags[RESTORED]))


def note_trained(trained: TrainedPanel) -> TrainedPanel:
    """Note with its run that a panel is trained; return it."""
    tags = {MODEL: trained.model_uri, RESTORED: str(trained.restored_epochs)}
    connect().log_batch(trained.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    return trained


def _take_up_panel(
    client: mlflow.MlflowClient, record: ComparisonRecord, job: PanelJob, tags: Mapping[str, str]
) -> str | None:
    """Reopen the run of a panel whose training was cut off, without what it has of a model."""
    run = find_panel_run(record, job)
    if run is None:
        return None
    run_id = str(run.info.run_id)
    _reopen(client, run_id, tags)
    for model in client.search_logged_models([record.experiment_id], f"source_run_id = '{run_id}'"):
        client.delete_logged_model(model.model_id)
    return run_id


def _reopen(client: mlflow.MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in {**tags, "resumed": "true"}.items()])
    client.update_run(run_id, status="RUNNING")


def _create_panel_run(
    client: mlflow.MlflowClient, record: ComparisonRecord, job: PanelJob, tags: Mapping[str, str]
) -> str:
    own = {"role": "panel", "panel": job.panel, "label": job.label, "repeat": str(job.repeat)}
    own[RUN_COLOUR] = COLOURS[job.prepared.config.panels.index(job.panel) % len(COLOURS)]
    common = {**tags, **own, "comparison": record.comparison, **describe_board(job.prepared)}
    return create_run(client, record.experiment_id, job.run_label, common, job.prepared)


@contextmanager
def resume_run(run_id: str, *, log_system_metrics: bool = False) -> Iterator[None]:
    """Make a run the active one of this thread while the block runs; it fails with the block.

    Args:
        run_id: MLflow's run id.
        log_system_metrics: let MLflow measure the machine meanwhile, every few seconds.
    """
    connect()
    with mlflow.start_run(run_id=run_id, log_system_metrics=log_system_metrics):
        yield


def close_runs(flow_run_id: str, status: str) -> int:
    """Close what a flow run that ended early left in state RUNNING; return how many runs that were."""
    client = connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    left = client.search_runs(experiments, f"tags.`{FLOW_RUN}` = '{flow_run_id}' and status = 'RUNNING'")
    for run in left:
        client.set_terminated(run.info.run_id, status)
        release(run.data.tags.get("comparison", ""))
    release(flow_run_id)
    return len(left)


def create_run(
    client: mlflow.MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str], prepared: PreparedBoard
) -> str:
    """Open a run in state RUNNING with every field of a board's configuration, and return its id."""
    run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
    run_id = str(run.info.run_id)
    fields = [Param(key, str(value)) for key, value in prepared.config.flat().items()]
    for start in range(0, len(fields), PARAMETERS_PER_CALL):
        client.log_batch(run_id, params=fields[start : start + PARAMETERS_PER_CALL])
    _log_dataset(client, run_id, prepared)
    return run_id


def _log_dataset(client: mlflow.MlflowClient, run_id: str, prepared: PreparedBoard) -> None:
    """Note what a run is about.

    MLflow looks for the data set in its tables before it writes it: of two runs that are the first of theirs at the
    same moment, one fails, and finds it the next time.
    """
    try:
        client.log_inputs(run_id, [describe_dataset(prepared)])
    except MlflowException:
        client.log_inputs(run_id, [describe_dataset(prepared)])
