"""Registered models: one for each board and panel, and one for each board with the alias `champion`."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from filelock import FileLock
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.logging_utils import disable_logging, enable_logging

from triptych.data.boards import PreparedBoard
from triptych.errors import ConfigError, suggest
from triptych.evaluation.model_card import write_card
from triptych.evaluation.promotion import Promotion, judge
from triptych.evaluation.report import EvaluatedPanel
from triptych.panels.identity import TRAINING
from triptych.panels.onnx_export import check_packages, export_model
from triptych.system.paths import cache_home
from triptych.tracking.artifacts import load_logged_predictions
from triptych.tracking.client import connect

CHAMPION = "champion"
CARD_FILE, CHECKSUMS_FILE = "MODEL_CARD.md", "SHA256SUMS"
# Which version held the alias before: what `rollback` goes back to.
PREVIOUS = "previous_champion"
# Why a version became champion, or did not.
DECISION = "promotion"


def register_panel(prepared: PreparedBoard, panel: EvaluatedPanel) -> None:
    """Register a training under `BOARD-PANEL`."""
    _register(f"{prepared.config.name}-{panel.panel}", prepared, panel)


def challenge(prepared: PreparedBoard, panel: EvaluatedPanel) -> Promotion:
    """Register a training under the board's name, and make it the champion if it is shown to be better.

    What was decided about a version once is not decided again.

    Args:
        prepared: the board.
        panel: the challenger.
    """
    name = prepared.config.name
    # Two comparisons of this machine that end at once decide one after the other.
    (cache_home() / "locks").mkdir(parents=True, exist_ok=True)
    with FileLock(cache_home() / "locks" / f"champion-{name}.lock"):
        champion = find_champion(name)
        version = _register(name, prepared, panel)
        if DECISION in version.tags or _is(version, champion):
            return Promotion(_is(version, champion), version.tags.get(DECISION, "it was made the champion before"))
        promotion = _decide(prepared, panel, champion)
        if promotion.promoted:
            _move_alias(name, str(version.version), champion)
        connect().set_model_version_tag(name, str(version.version), DECISION, promotion.reason[:5000])
    return promotion


def _is(version: ModelVersion, champion: ModelVersion | None) -> bool:
    return champion is not None and str(champion.version) == str(version.version)


def _decide(prepared: PreparedBoard, panel: EvaluatedPanel, champion: Any | None) -> Promotion:
    if champion is None:
        return Promotion(promoted=True, reason="there was no champion")
    if champion.tags.get("split_id") != prepared.split_id:
        other = champion.tags.get("split_id", "unknown")
        return Promotion(
            promoted=False,
            reason=f"the champion stands on split {other}, not on {prepared.split_id}: accuracies on different images "
            f"are not compared; `triptych promote {prepared.config.name}/VERSION` decides by hand",
        )
    try:
        theirs = load_logged_predictions(champion.run_id)
    except (MlflowException, OSError):
        return Promotion(promoted=False, reason=f"the predictions of the champion's run {champion.run_id} are gone")
    return judge(load_logged_predictions(panel.run_id), theirs, prepared.config.evaluate.confidence_level)


def find_champion(name: str) -> Any | None:
    """Return the version that holds the alias; None where there is none, or it was deleted."""
    try:
        return connect().get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def promote(name: str, version: str) -> None:
    """Make a version the champion by hand.

    Raises:
        ConfigError: there is no such version.
    """
    try:
        connect().get_model_version(name, version)
    except MlflowException as error:
        raise ConfigError(f"no version {version} of a registered model {name!r}: {_list_models()}") from error
    _move_alias(name, version, find_champion(name))


def rollback(name: str) -> str:
    """Give the alias back to the version that held it before; return that version.

    Raises:
        ConfigError: there is no champion, or none before it.
    """
    champion = find_champion(name)
    if champion is None:
        raise ConfigError(f"{name!r} has no champion: {_list_models()}")
    previous = champion.tags.get(PREVIOUS)
    if not previous:
        raise ConfigError(f"version {champion.version} of {name!r} is the first champion: there is none to go back to")
    try:
        connect().get_model_version(name, previous)
    except MlflowException as error:
        raise ConfigError(f"version {previous} of {name!r}, the champion before, was deleted") from error
    connect().set_registered_model_alias(name, CHAMPION, previous)
    return str(previous)


def _move_alias(name: str, version: str, champion: Any | None) -> None:
    if champion is not None and str(champion.version) != version:
        connect().set_model_version_tag(name, version, PREVIOUS, str(champion.version))
    connect().set_registered_model_alias(name, CHAMPION, version)


def _register(name: str, prepared: PreparedBoard, panel: EvaluatedPanel) -> ModelVersion:
    """Register a training, unless it is there already: a comparison was taken up, or an old training found again."""
    client = connect()
    training = client.get_run(panel.run_id).data.tags.get(TRAINING, "")
    for version in client.search_model_versions(f"name = '{name}'"):
        same = version.tags.get(TRAINING) == training and version.tags.get("split_id") == prepared.split_id
        if version.run_id == panel.run_id or (panel.restored_epochs and training and same):
            return version
    tags = {"board": prepared.config.name, "panel": panel.panel, "split_id": prepared.split_id, "label": panel.label}
    tags[TRAINING] = training
    tags["test_accuracy"] = f"{panel.metrics['test_accuracy']:.4f}"
    disable_logging()  # MLflow prints two lines for each version
    try:
        version = mlflow.register_model(panel.model_uri, name, tags=tags)
    finally:
        enable_logging()
    with TemporaryDirectory() as folder:
        model = Path(mlflow.artifacts.download_artifacts(panel.model_uri, dst_path=folder))
        card = write_card(prepared, panel, _digest_files(model / "data"))
    client.update_model_version(name, version.version, description=card)
    client.log_text(panel.run_id, card, CARD_FILE)
    return version


def _digest_files(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def model_uri(reference: str) -> str:
    """Return MLflow's URI of a registered model.

    >>> model_uri("digits"), model_uri("digits@champion"), model_uri("digits/3")
    ('models:/digits@champion', 'models:/digits@champion', 'models:/digits/3')
    """
    reference = reference.removeprefix("models:/")
    return f"models:/{reference}" if "@" in reference or "/" in reference else f"models:/{reference}@{CHAMPION}"


def fetch_model(reference: str, folder: Path, model_format: str = "mlflow") -> Path:
    """Download a registered model with its card and checksums; return the folder.

    Args:
        reference: NAME, NAME@ALIAS or NAME/VERSION.
        folder: must be empty or absent.
        model_format: "mlflow" as it was logged, "onnx" as one ONNX model with `onnx.json`, which says what it takes.

    Raises:
        ConfigError: there is no such model or format, the format's packages are missing, or the folder holds
            something.
        ExportError: the ONNX model does not repeat the probabilities of the logged one.
    """
    if model_format not in WRITERS:
        raise ConfigError(
            f"--format {model_format!r} is not allowed: use {' or '.join(WRITERS)}{suggest(model_format, WRITERS)}"
        )
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty: name a new folder")
    if model_format == "onnx":
        check_packages()
    version = find_version(reference)
    addition = WRITERS[model_format](f"models:/{version.name}/{version.version}", folder)
    (folder / CARD_FILE).write_text((version.description or "") + addition, encoding="utf-8")
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != CHECKSUMS_FILE)
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}\n" for file in files]
    (folder / CHECKSUMS_FILE).write_text("".join(lines), encoding="utf-8")
    return folder


def _write_logged(uri: str, folder: Path) -> str:
    mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))
    return ""


def _write_onnx(uri: str, folder: Path) -> str:
    """Export a model; return what its card should say of that."""
    with TemporaryDirectory() as downloaded:
        model = Path(mlflow.artifacts.download_artifacts(uri, dst_path=downloaded))
        data = Model.load(str(model)).flavors["python_function"]["data"]
        exported = Path(downloaded) / "onnx"
        exported.mkdir()
        card = export_model(model / data, exported)
        # What failed its check is never seen.
        shutil.copytree(exported, folder, dirs_exist_ok=True)
    return f"\n{card}"


# How a model is written to a folder; each returns what is added to the card.
WRITERS = {"mlflow": _write_logged, "onnx": _write_onnx}


def find_version(reference: str) -> Any:
    """Return the version that a reference names.

    Raises:
        ConfigError: there is none.
    """
    name, separator, alias = model_uri(reference).removeprefix("models:/").partition("@")
    client = connect()
    try:
        if separator:
            return client.get_model_version_by_alias(name, alias)
        name, _, number = name.partition("/")
        return client.get_model_version(name, number)
    except MlflowException as error:
        raise ConfigError(f"no registered model {reference!r}: {_list_models()}") from error


def _list_models() -> str:
    names = [model.name for model in connect().search_registered_models()]
    return f"there are {', '.join(names)}" if names else "none is registered yet; run `triptych compare`"
