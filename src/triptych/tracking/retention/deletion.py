"""Deleting old comparisons, studies and learning curves by MLflow's own means: first to its trash, then for good.

A tracking server empties its trash itself, with `mlflow gc`. A database is emptied here, of nothing but what was put
there here: the command would also delete what users have put into the trash.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path

import mlflow
from mlflow.entities import LoggedModel, ViewType
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from triptych.system.addresses import WEB, tracking_uri
from triptych.tracking.links import VIEW_TAG
from triptych.tracking.registry.versions import open_registry
from triptych.tracking.retention.selection import Old
from triptych.tracking.tags import PREFIX, ROLE, RUNNING, list_shared, search, set_tags

# Set on a run before it goes to the trash, so that it is found there after an interruption.
PRUNED = "pruned"


def delete_old(client: mlflow.MlflowClient, old: Old) -> bool:
    """Delete a comparison or a study with its runs, logged models, versions and view; return whether it was.

    It is left alone if it was continued meanwhile, a comparison that is running shares one of its runs, or one of its
    versions got an alias.
    """
    entry = old.entry
    if any(client.get_run(run_id).info.status == "RUNNING" for run_id in entry.runs):
        return False
    running = search(client, [entry.experiment_id], {ROLE: "comparison"}, where=RUNNING)
    if any(run_id in entry.runs for run in running for run_id in list_shared(run).values()):
        return False
    if any(client.get_model_version(name, version).aliases for name, version in old.versions):
        return False
    for name, version in old.versions:
        open_registry().delete_model_version(name, version)
    if VIEW_TAG + entry.name in client.get_experiment(entry.experiment_id).tags:
        client.delete_experiment_tag(entry.experiment_id, VIEW_TAG + entry.name)
    for model in entry.models:
        client.delete_logged_model(model)
    _collect([], list(entry.models), list(entry.models.values()))
    for run_id in entry.runs:
        set_tags(client, run_id, {PRUNED: "true"})
        client.delete_run(run_id)
    _collect(list(entry.runs), [], list(entry.runs.values()))
    return True


def collect_left(client: mlflow.MlflowClient) -> None:
    """Delete for good what an interruption has left in the trash."""
    boards = [board.experiment_id for board in client.search_experiments()]
    runs = client.search_runs(boards, f"tags.`{PREFIX}{PRUNED}` = 'true'", run_view_type=ViewType.DELETED_ONLY)
    _collect([run.info.run_id for run in runs], [], [str(run.info.artifact_uri) for run in runs])


def delete_trunks(client: mlflow.MlflowClient, unused: Sequence[LoggedModel]) -> None:
    """Delete the logged models of frozen networks."""
    for model in unused:
        client.delete_logged_model(model.model_id)
    _collect([], [model.model_id for model in unused], [model.artifact_location for model in unused])


def can_collect() -> bool:
    """Return whether the trash can be emptied from here, which is a database and no server's."""
    return not tracking_uri().startswith(WEB)


def _collect(runs: Sequence[str], models: Sequence[str], addresses: Sequence[str]) -> None:
    """Delete runs and logged models for good that are in the trash, with their artifacts."""
    if not can_collect() or not (runs or models):
        return
    from mlflow.cli import _gc_tracking_resources  # of the command, which has no way to leave out experiments
    from mlflow.tracking import _get_store

    with redirect_stdout(io.StringIO()):
        _gc_tracking_resources(
            _get_store(tracking_uri()),
            run_ids=list(runs),
            experiment_ids=None,
            logged_model_ids=list(models),
            older_than=None,
            time_delta=0,
            skip_experiments=True,
            skip_logged_models=False,
        )
    for address in filter(is_local_uri, addresses):
        with suppress(OSError):  # the folder of the run or the model, which MLflow leaves empty
            Path(local_file_uri_to_path(address)).parent.rmdir()
