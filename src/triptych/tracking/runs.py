"""Runs of comparisons and panels: created, continued after an interruption, and always closed.

Runs are passed on by id, because MLflow's stack of active runs belongs to one thread.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import mlflow
from mlflow.entities import Param, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import fluent
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from triptych.config.documents import write_board
from triptych.data.boards import PreparedBoard
from triptych.errors import ConcurrentRunError
from triptych.evaluation.charts.colours import choose_colours
from triptych.system.addresses import tracking_uri
from triptych.system.processes import find_host
from triptych.system.text import escape_markdown
from triptych.tracking.client import connect, find_or_create_experiment
from triptych.tracking.leases import Lease, own_leases
from triptych.tracking.links import save_view
from triptych.tracking.provenance import CONFIG_FILE, describe_board, describe_dataset
from triptych.tracking.records import ComparisonRecord, TrainedPanel
from triptych.tracking.resume import claim_interrupted, close_abandoned, name_share
from triptych.tracking.store import is_sqlite
from triptych.tracking.tags import (
    COMPARISON,
    CREATION,
    FLOW_RUN,
    HOST,
    IDENTITY,
    LABEL,
    LEASE,
    MODEL,
    PANEL,
    REPEAT,
    RESTORED,
    RESUMED,
    ROLE,
    own_tags,
    read_tags,
    select,
    set_tags,
)
from triptych.training.jobs import PanelJob

# MLflow takes at most 100 parameters in one call.
PARAMETERS_PER_CALL = 100
# The colour of a run in MLflow's charts, which by default give two panels the same one.
RUN_COLOUR = "mlflow.runColor"


def start_comparison(
    prepared: PreparedBoard, tags: Mapping[str, str], identity: str, *, fresh: bool = False
) -> ComparisonRecord:
    """Create the run named `comparison` in the board's experiment, or reopen that of an interrupted comparison.

    Runs that other processes left in state RUNNING when they were interrupted are closed.

    Args:
        prepared: the prepared board.
        tags: the flow run that works on it.
        identity: hash of everything that the results depend on.
        fresh: reopen only a comparison of the same flow run, and use no training that is older.

    Raises:
        ConcurrentRunError: another process of the same flow run is working on it.
    """
    client = connect()
    experiment_id = find_or_create_experiment(client, prepared.config.name)
    found = claim_interrupted(client, experiment_id, identity, tags.get(FLOW_RUN), fresh=fresh)
    close_abandoned(client, experiment_id)
    tags = {**tags, HOST: find_host()}
    if found is None:
        started = time.time()
        comparison, run_id = _create_comparison(client, experiment_id, prepared, {**tags, IDENTITY: identity})
    else:
        started = found.info.start_time / 1000
        comparison, run_id = read_tags(found)[COMPARISON], str(found.info.run_id)
        _reopen(client, run_id, tags)
    save_view(client, experiment_id, comparison)
    return ComparisonRecord(comparison, experiment_id, run_id, prepared, started if fresh else None)


def _create_comparison(
    client: mlflow.MlflowClient, experiment_id: str, prepared: PreparedBoard, tags: Mapping[str, str]
) -> tuple[str, str]:
    """Create the run of a new comparison, and take its lease; return the comparison's and the run's id."""
    comparison = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    own = {COMPARISON: comparison, ROLE: "comparison", LEASE: str(Lease.now())}
    run_id = create_run(client, experiment_id, "comparison", {**tags, **own, **describe_board(prepared)}, prepared)
    own_leases.hold(client, run_id)
    if prepared.notes:
        client.set_tag(run_id, MLFLOW_RUN_NOTE, "\n\n".join(map(escape_markdown, prepared.notes)))
    client.log_artifact(run_id, str(prepared.split_file), "split")
    client.log_text(run_id, write_board(prepared.config), CONFIG_FILE)
    return comparison, run_id


@contextmanager
def panel_run(record: ComparisonRecord, job: PanelJob, tags: Mapping[str, str]) -> Iterator[str]:
    """Create the run of a panel, or reopen the one that was interrupted, and yield its id.

    The run ends as FINISHED, or as FAILED if the block raises.
    """
    client = connect()
    run_id = _reopen_panel_run(client, record, job, tags) or _create_panel_run(client, record, job, tags)
    with resume_run(run_id, log_system_metrics=True):
        yield run_id


def find_panel_run(record: ComparisonRecord, job: PanelJob) -> Run | None:
    """Return the run of a panel in a comparison; None if it has not been started."""
    tags = {COMPARISON: record.comparison, ROLE: "panel", PANEL: job.panel, REPEAT: str(job.repeat)}
    found = connect().search_runs([record.experiment_id], select(tags), max_results=1)
    return found[0] if found else None


def find_trained(record: ComparisonRecord, job: PanelJob) -> TrainedPanel | None:
    """Return a panel that was trained before its comparison was interrupted; None if it was not."""
    run = find_panel_run(record, job)
    tags = {} if run is None else read_tags(run)
    if run is None or MODEL not in tags:
        return None
    return TrainedPanel(job, run.info.run_id, tags[MODEL], int(tags[RESTORED]))


def note_trained(trained: TrainedPanel) -> TrainedPanel:
    """Tag the run of a panel as trained, for `find_trained`; return the panel."""
    set_tags(connect(), trained.run_id, {MODEL: trained.model_uri, RESTORED: str(trained.restored_epochs)})
    return trained


def _reopen_panel_run(
    client: mlflow.MlflowClient, record: ComparisonRecord, job: PanelJob, tags: Mapping[str, str]
) -> str | None:
    """Reopen the run of a panel whose training was interrupted, and delete its incomplete models; return its id."""
    run = find_panel_run(record, job)
    if run is None:
        return None
    run_id = str(run.info.run_id)
    _reopen(client, run_id, tags)
    for model in client.search_logged_models([record.experiment_id], f"source_run_id = '{run_id}'"):
        client.delete_logged_model(model.model_id)
    return run_id


def _reopen(client: mlflow.MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    set_tags(client, run_id, {**tags, RESUMED: "true"})
    client.update_run(run_id, status="RUNNING")


def _create_panel_run(
    client: mlflow.MlflowClient, record: ComparisonRecord, job: PanelJob, tags: Mapping[str, str]
) -> str:
    own = {ROLE: "panel", PANEL: job.panel, LABEL: job.label, REPEAT: str(job.repeat), COMPARISON: record.comparison}
    own[RUN_COLOUR] = choose_colours(job.prepared.config.panels)[job.panel]
    common = {**tags, **own, **describe_board(job.prepared)}
    return create_run(client, record.experiment_id, job.run_label, common, job.prepared)


@contextmanager
def resume_run(run_id: str, *, log_system_metrics: bool = False) -> Iterator[None]:
    """Make a run the active one of this thread while the block runs; the run fails if the block raises.

    If another machine has taken the run over, it stays as that machine has it.

    Args:
        run_id: MLflow's run id.
        log_system_metrics: let MLflow measure the machine every few seconds.
    """
    connect()
    taken_over: list[ConcurrentRunError] = []
    with mlflow.start_run(run_id=run_id, log_system_metrics=log_system_metrics):
        try:
            yield
        except ConcurrentRunError as error:
            _leave(run_id)
            taken_over.append(error)
    for reason in taken_over:
        raise reason


def _leave(run_id: str) -> None:
    """End the active run of this thread without a call to the store, which `mlflow.end_run` would make."""
    fluent._active_run_stack.get().pop()  # noqa: SLF001 - there is no other way
    if monitor := fluent.run_id_to_system_metrics_monitor.pop(run_id, None):
        monitor.finish()


def close_run(run_id: str) -> None:
    """Close a run as FINISHED that was interrupted after its last step."""
    client = connect()
    if client.get_run(run_id).info.status != "FINISHED":
        client.set_terminated(run_id)


def close_runs(flow_run_id: str, status: str) -> int:
    """Close the runs that a flow run which ended early left in state RUNNING; return their number."""
    client = connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    running = client.search_runs(experiments, f"tags.`{FLOW_RUN}` = '{flow_run_id}' and attributes.status = 'RUNNING'")
    for run in running:
        client.set_terminated(run.info.run_id, status)
        for name in (LEASE, name_share(flow_run_id)):
            own_leases.release(run.info.run_id, name)
    return len(running)


def close_held_runs(status: str) -> None:
    """Close the runs that this process left in state RUNNING: those of the flow runs whose leases it holds."""
    for client, run_id in own_leases.list_held():
        if flow_run := read_tags(client.get_run(run_id)).get(FLOW_RUN):
            close_runs(flow_run, status)


def create_run(
    client: mlflow.MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str], prepared: PreparedBoard
) -> str:
    """Create a run in state RUNNING with every field of a board's configuration as a parameter; return its id."""
    run_id = open_run(client, experiment_id, name, tags)
    fields = [Param(key, str(value)) for key, value in prepared.config.flat().items()]
    for start in range(0, len(fields), PARAMETERS_PER_CALL):
        client.log_batch(run_id, params=fields[start : start + PARAMETERS_PER_CALL])
    _log_dataset(client, run_id, prepared)
    return run_id


def open_run(client: mlflow.MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str]) -> str:
    """Create a run in state RUNNING, and delete another that a tracking server has created for the same call.

    If the answer is lost, because the connection was dropped, MLflow's client asks again. A database is asked once.
    """
    tags = {**tags, CREATION: uuid.uuid4().hex}
    run_id = str(client.create_run(experiment_id, run_name=name, tags=own_tags(tags)).info.run_id)
    if is_sqlite(tracking_uri()):
        return run_id
    for run in client.search_runs([experiment_id], select({CREATION: tags[CREATION]})):
        if run.info.run_id != run_id:
            with suppress(MlflowException):  # deleted, if this answer is lost as well
                client.delete_run(run.info.run_id)
    return run_id


def _log_dataset(client: mlflow.MlflowClient, run_id: str, prepared: PreparedBoard) -> None:
    """Log the data set of a run.

    MLflow checks whether the data set is in its tables before it inserts it. If two runs are the first of a data set
    at the same moment, one of them fails, and finds it on its second attempt. If an answer is lost, MLflow's
    client asks again, and fails because the run has the data set.
    """
    try:
        client.log_inputs(run_id, [describe_dataset(prepared)])
    except MlflowException:
        inputs = client.get_run(run_id).inputs
        if inputs is None or not inputs.dataset_inputs:
            client.log_inputs(run_id, [describe_dataset(prepared)])
