"""Versions of registered models: registered with their card, and found by their name."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.logging_utils import disable_logging, enable_logging

from triptych.config.schema import NO_GROUPS
from triptych.data.boards import PreparedBoard, open_board
from triptych.errors import ConfigError, suggest
from triptych.evaluation.model_card import write_card
from triptych.evaluation.report import EvaluatedPanel
from triptych.evaluation.statistics import measure_clustering
from triptych.networks.checksums import check_checksums
from triptych.panels.identity import TRAINING
from triptych.panels.kinds import find_kind
from triptych.tracking.artifacts import load_logged_predictions
from triptych.tracking.client import connect
from triptych.tracking.tags import (
    BOARD,
    CREATION,
    LABEL,
    PANEL,
    SPLIT_ID,
    TEST_ACCURACY,
    own_tags,
    read_tags,
    select,
)

CHAMPION = "champion"
CARD_FILE = "MODEL_CARD.md"


def register_version(
    name: str, prepared: PreparedBoard, panel: EvaluatedPanel, more_tags: Mapping[str, str] | None = None
) -> ModelVersion:
    """Register the model of a panel with its card and tags, or return the version that has it already."""
    client = connect()
    training = read_tags(client.get_run(panel.run_id)).get(TRAINING, "")
    found = _find_registered(name, prepared, panel, training)
    if found is not None:
        return found
    tags = {BOARD: prepared.config.name, PANEL: panel.panel, SPLIT_ID: prepared.split_id, LABEL: panel.label}
    tags |= {TRAINING: training, TEST_ACCURACY: f"{panel.metrics['test_accuracy']:.4f}", CREATION: uuid.uuid4().hex}
    disable_logging()  # MLflow prints two lines for each version
    try:
        mlflow.register_model(panel.model_uri, name, tags=own_tags({**tags, **(more_tags or {})}))
    finally:
        enable_logging()
    version = _keep_one(name, tags[CREATION])
    with TemporaryDirectory() as folder:
        model = Path(mlflow.artifacts.download_artifacts(panel.model_uri, dst_path=folder))
        for data in (model / "data").iterdir():
            check_checksums(data)
        card = write_card(prepared, panel, digest_files(model / "data"), _find_clustering(prepared, panel))
    client.update_model_version(name, version.version, description=card)
    client.log_text(panel.run_id, card, CARD_FILE)
    return version


def _keep_one(name: str, creation: str) -> ModelVersion:
    """Return the version that was created; delete another that a tracking server has created for the same call.

    If the answer is lost, because the connection was dropped, MLflow's client asks again.
    """
    client = connect()
    found = client.search_model_versions(f"name = '{name}' and {select({CREATION: creation})}")
    first, *others = sorted(found, key=lambda version: int(version.version))
    for other in others:
        with suppress(MlflowException):  # deleted, if this answer is lost as well
            client.delete_model_version(name, other.version)
    return first


def _find_registered(name: str, prepared: PreparedBoard, panel: EvaluatedPanel, training: str) -> ModelVersion | None:
    """Return the version of the same run or, where no new result was computed, of the same training and split."""
    draws = find_kind(prepared.config, panel.panel).draws(prepared.config.settings_of(panel.panel))
    repeated = bool(panel.restored_epochs) or not draws
    for version in connect().search_model_versions(f"name = '{name}'"):
        tags = read_tags(version)
        same = (tags.get(TRAINING), tags.get(SPLIT_ID)) == (training, prepared.split_id)
        if version.run_id == panel.run_id or (repeated and training and same):
            return version
    return None


def _find_clustering(prepared: PreparedBoard, panel: EvaluatedPanel) -> float:
    """Return the design effect of the groups of test images on the accuracy of a panel."""
    if prepared.config.split.group_by == NO_GROUPS:
        return 1.0
    predictions, groups = load_logged_predictions(panel.run_id), open_board(prepared).groups
    groups = None if groups is None else groups[predictions.indices]
    return measure_clustering(predictions.correct.astype(np.float64), groups)


def digest_files(folder: Path) -> str:
    """Return the SHA-256 of the files of a model, with their names, hexadecimal."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def model_uri(reference: str) -> str:
    """Return MLflow's URI of a registered model; a name alone means its champion.

    >>> model_uri("digits"), model_uri("digits@champion"), model_uri("digits/3")
    ('models:/digits@champion', 'models:/digits@champion', 'models:/digits/3')
    """
    reference = reference.removeprefix("models:/")
    return f"models:/{reference}" if "@" in reference or "/" in reference else f"models:/{reference}@{CHAMPION}"


def find_version(reference: str) -> ModelVersion:
    """Return the version that a reference names.

    Args:
        reference: NAME, NAME@ALIAS or NAME/VERSION.

    Raises:
        ConfigError: there is no such version.
    """
    name, separator, alias = model_uri(reference).removeprefix("models:/").partition("@")
    client = connect()
    number = ""
    try:
        if separator:
            return client.get_model_version_by_alias(name, alias)
        name, _, number = name.partition("/")
        # MLflow would take 01 for 1, but keeps the text.
        if number.isdecimal() and number.isascii():
            return client.get_model_version(name, str(int(number)))
    except MlflowException as error:
        raise ConfigError(explain_missing(name, f"alias {alias!r}" if separator else f"number {number!r}")) from error
    raise ConfigError(explain_missing(name, f"number {number!r}"))


def find_champion(name: str) -> ModelVersion | None:
    """Return the version that has the alias `champion`; None if there is none, or it was deleted."""
    try:
        return connect().get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def explain_missing(name: str, wanted: str) -> str:
    """Return what there is instead of a version that was not found."""
    names = [model.name for model in connect().search_registered_models()]
    if name not in names:
        rest = (
            f"registered are {', '.join(names)}{suggest(name, names)}"
            if names
            else "none is yet; run `triptych compare`"
        )
        return f"no registered model {name!r}: {rest}"
    found = sorted(int(version.version) for version in connect().search_model_versions(f"name = '{name}'"))
    if not found:
        return f"registered model {name!r} has no version with {wanted}: all were deleted; run `triptych compare`"
    versions = f"{'version' if len(found) == 1 else 'versions'} {', '.join(map(str, found))}"
    return f"registered model {name!r} has no version with {wanted}: it has {versions}; name one as {name}/{found[-1]}"
