"""Frozen networks: a board stores each of them once, and its models refer to it.

It is a logged model of its own, whose name has the hash of the network, so that no run has to exist for it.
"""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from triptych.networks.trunks import TRUNK_FILE, hash_trunk, refer_to_trunk
from triptych.panels.kinds import find_kind
from triptych.tracking.client import connect
from triptych.tracking.tags import ROLE, TRUNK, own_tags
from triptych.training.jobs import PanelJob

# The name of the logged model of a frozen network starts with this, and ends with so much of its SHA-256.
NAME, NAMED_DIGITS = "backbone-", 32


def share_trunk(experiment_id: str, job: PanelJob, folder: Path) -> None:
    """Store the frozen network of a saved panel in a board's experiment, unless it has it; refer to it in the folder.

    Panels without a frozen network stay as they are. Two that are saved at the same moment may both store it.

    Args:
        experiment_id: MLflow's id of the experiment.
        job: the panel and its repeat.
        folder: the saved panel, changed in place.
    """
    if find_kind(job.prepared.config, job.panel).input != "embeddings":
        return
    client, file = connect(), folder / TRUNK_FILE
    name = f"{NAME}{hash_trunk(file)[:NAMED_DIGITS]}"
    stored = find_stored(client, experiment_id, name, file) or _store(client, experiment_id, name, file)
    refer_to_trunk(folder, f"models:/{stored.model_id}", name, experiment_id)


def find_stored(client: mlflow.MlflowClient, experiment_id: str, name: str, file: Path) -> LoggedModel | None:
    """Return the logged model of a frozen network that is as in a file; None if there is none."""
    for model in client.search_logged_models([experiment_id], f"name = '{name}'"):
        if model.status == LoggedModelStatus.READY and has_trunk(model, file):
            return model
    return None


def has_trunk(model: LoggedModel, file: Path) -> bool:
    """Return whether a logged model has the frozen network of a file, by its size and, on this disk, its hash."""
    sizes = {entry.path: entry.file_size for entry in mlflow.artifacts.list_artifacts(f"models:/{model.model_id}")}
    if sizes.get(TRUNK_FILE) != file.stat().st_size:
        return False
    if not is_local_uri(model.artifact_location):
        return True
    stored = Path(local_file_uri_to_path(model.artifact_location)) / TRUNK_FILE
    return hash_trunk(stored) == hash_trunk(file)


def _store(client: mlflow.MlflowClient, experiment_id: str, name: str, file: Path) -> LoggedModel:
    created = client.create_logged_model(experiment_id, name, tags=own_tags({ROLE: TRUNK}))
    client.log_model_artifact(created.model_id, str(file))
    return client.finalize_logged_model(created.model_id, LoggedModelStatus.READY)
