"""The registration of a trained panel: a version of a registered model, with its card and its tags."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from triptych.config.schema import NO_GROUPS
from triptych.data.boards import PreparedBoard, open_board
from triptych.errors import DamagedFileError
from triptych.evaluation.model_card import write_card
from triptych.evaluation.report import EvaluatedPanel
from triptych.evaluation.statistics import measure_clustering
from triptych.networks.checksums import check_checksums
from triptych.networks.trunks import complete_trunk
from triptych.panels.identity import TRAINING
from triptych.panels.kinds import find_kind
from triptych.tracking.artifacts import load_logged_predictions
from triptych.tracking.client import connect
from triptych.tracking.links import link_inside, link_to_charts
from triptych.tracking.registry.versions import CARD_FILE, digest_files, search_versions
from triptych.tracking.sharing.finished import check_model
from triptych.tracking.tags import (
    BOARD,
    COMPARISON,
    CREATION,
    LABEL,
    PANEL,
    PREFIXES,
    SPLIT_ID,
    TEST_ACCURACY,
    own_tags,
    read_tags,
    select,
)

# More than all machines register at the same moment, and than trainings of one name are repeated meanwhile.
CREATED_AT_ONCE = MOST_OF_ONE_TRAINING = 100


def register_version(
    name: str, prepared: PreparedBoard, panel: EvaluatedPanel, more_tags: Mapping[str, str] | None = None
) -> ModelVersion:
    """Register the model of a panel with its card and tags, or return the version that has it already."""
    client = connect()
    run = client.get_run(panel.run_id)
    found = _find_registered(name, prepared, panel, run)
    if found is not None:
        return found
    about = read_tags(run)
    training, comparison = about.get(TRAINING, ""), about.get(COMPARISON, "")
    tags = {BOARD: prepared.config.name, PANEL: panel.panel, SPLIT_ID: prepared.split_id, LABEL: panel.label}
    tags |= {TRAINING: training, TEST_ACCURACY: f"{panel.metrics['test_accuracy']:.4f}", CREATION: uuid.uuid4().hex}
    tags |= {COMPARISON: comparison} if comparison else {}
    with TemporaryDirectory() as folder:
        model = Path(mlflow.artifacts.download_artifacts(panel.model_uri, dst_path=folder))
        for data in (model / "data").iterdir():
            check_checksums(data)
            complete_trunk(data)
        link = link_inside(link_to_charts(run.info.experiment_id, comparison))
        origin = f"[comparison {comparison}]({link})" if comparison else ""
        card = write_card(prepared, panel, digest_files(model / "data"), _find_clustering(prepared, panel), origin)
    client.log_text(panel.run_id, card, CARD_FILE)
    created = _create_version(name, panel.model_uri, own_tags({**tags, **(more_tags or {})}), card)
    return _keep_one(created, tags[CREATION])


def _create_version(name: str, model: str, tags: dict[str, str], card: str) -> ModelVersion:
    """Register a logged model as `mlflow.register_model` does, which first reads every version that there is."""
    client, model_id = connect(), model.removeprefix("models:/")
    create = partial(client.create_model_version, name, model, tags=tags, description=card, model_id=model_id)
    try:
        version = create()
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        with suppress(MlflowException):  # another process has just created it
            client.create_registered_model(name)
        version = create()
    # What MLflow's page of the logged model shows.
    known = json.loads(client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    links = json.dumps([*known, {"name": name, "version": version.version}])
    client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: links})
    return version


def _keep_one(created: ModelVersion, creation: str) -> ModelVersion:
    """Return the first version that was created; delete others that a tracking server has created for the same call.

    If the answer is lost, because the connection was dropped, MLflow's client asks again.
    """
    client = connect()
    lately = f"version_number > {int(created.version) - CREATED_AT_ONCE} and {select({CREATION: creation})}"
    *others, first = search_versions(created.name, lately)
    for other in others:
        with suppress(MlflowException):  # deleted, if this answer is lost as well
            client.delete_model_version(other.name, other.version)
    return first


def _find_registered(name: str, prepared: PreparedBoard, panel: EvaluatedPanel, run: Run) -> ModelVersion | None:
    """Return the version of the same run or, where no new result was computed, of the same training and split."""
    draws = find_kind(prepared.config, panel.panel).draws(prepared.config.settings_of(panel.panel))
    repeated = bool(panel.restored_epochs) or not draws
    training = read_tags(run).get(TRAINING)
    # The store finds the versions of a training by their tags, but those of a run only by reading all of them.
    own = [select({TRAINING: training}, prefix) for prefix in PREFIXES] if training else [f"run_id = '{panel.run_id}'"]
    found = [version for query in own for version in search_versions(name, query, most=MOST_OF_ONE_TRAINING)]
    for version in found:
        same = repeated and training and read_tags(version).get(SPLIT_ID) == prepared.split_id
        if version.run_id == panel.run_id or (same and _is_whole(version)):
            return version
    return None


def _is_whole(version: ModelVersion) -> bool:
    """Return whether the model of a version can be loaded; its files may have been deleted or damaged since."""
    try:
        check_model(f"models:/{version.name}/{version.version}")
    except (MlflowException, OSError, DamagedFileError):
        return False
    return True


def _find_clustering(prepared: PreparedBoard, panel: EvaluatedPanel) -> float:
    """Return the design effect of the groups of test images on the accuracy of a panel."""
    if prepared.config.split.group_by == NO_GROUPS:
        return 1.0
    predictions, groups = load_logged_predictions(panel.run_id), open_board(prepared).groups
    groups = None if groups is None else groups[predictions.indices]
    return measure_clustering(predictions.correct.astype(np.float64), groups)
