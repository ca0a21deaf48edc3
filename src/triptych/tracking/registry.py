"""Registered models: one for each panel of a board, and one for each board, which has the alias `champion`."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.logging_utils import disable_logging, enable_logging

from triptych.data.boards import PreparedBoard
from triptych.errors import ConfigError, DamagedFileError, describe_error, suggest
from triptych.evaluation.model_card import write_card
from triptych.evaluation.pairs import join_words
from triptych.evaluation.promotion import Promotion, judge
from triptych.evaluation.report import EvaluatedPanel
from triptych.networks.checksums import check_checksums, write_checksums
from triptych.panels.identity import TRAINING
from triptych.panels.kinds import find_kind
from triptych.panels.onnx_export import check_packages, export_model
from triptych.tracking.artifacts import load_logged_model, load_logged_predictions
from triptych.tracking.client import connect
from triptych.tracking.leases import Lease
from triptych.tracking.tags import (
    BOARD,
    DECISION,
    LABEL,
    LEASE,
    PANEL,
    PREFIX,
    PREVIOUS,
    SPLIT_ID,
    TEST_ACCURACY,
    own_tags,
    read_tags,
)

CHAMPION = "champion"
MODEL_FILE, CARD_FILE = "MLmodel", "MODEL_CARD.md"
DIGEST_ON_CARD = re.compile(r"weights SHA-256 ([0-9a-f]{64})")
MAX_TAG_LENGTH = 5000
# A decision takes a second or two; one that takes longer was given up.
DECISION_SECONDS, SECONDS_BETWEEN_CHECKS = 60.0, 0.1


def register_panel(prepared: PreparedBoard, panel: EvaluatedPanel) -> None:
    """Register the model of a panel under `BOARD-PANEL`."""
    _register(f"{prepared.config.name}-{panel.panel}", prepared, panel)


def challenge(prepared: PreparedBoard, panel: EvaluatedPanel, missing: Sequence[str] = ()) -> Promotion:
    """Register the model of a panel under the board's name, and make it the champion if it is significantly better.

    A decision about a version is never repeated. While panels are missing from its comparison, none is made.

    Args:
        prepared: the board.
        panel: the challenger.
        missing: the labels of the panels that are missing from the comparison.
    """
    name = prepared.config.name
    version = _register(name, prepared, panel, {LEASE: str(Lease.now())})
    with _turn(version):
        champion = find_champion(name)
        is_champion = champion is not None and str(champion.version) == str(version.version)
        tags = read_tags(connect().get_model_version(name, version.version))
        if DECISION in tags or is_champion:
            reason = tags.get(DECISION, "it was made the champion before")
            return Promotion(is_champion, reason, earlier=version.run_id != panel.run_id)
        if missing:
            return Promotion(
                promoted=False,
                reason=f"the comparison is incomplete, without {join_words(missing)}; `triptych promote "
                f"{name}/{version.version}` decides by hand",
            )
        promotion = _decide(prepared, panel, champion)
        if promotion.promoted:
            _move_alias(name, str(version.version), champion)
        reason = promotion.reason[:MAX_TAG_LENGTH]
        connect().set_model_version_tag(name, str(version.version), PREFIX + DECISION, reason)
    return promotion


@contextmanager
def _turn(version: ModelVersion) -> Iterator[None]:
    """Wait until every lower version that is about to be decided has been, so that one decides after the other.

    The store numbers the versions, whichever machines register them. A version is about to be decided while it has
    a lease.
    """
    client, name = connect(), version.name
    client.set_model_version_tag(name, version.version, PREFIX + LEASE, str(Lease.now()))
    try:
        while any(
            int(other.version) < int(version.version) and _is_about_to_be_decided(other)
            for other in client.search_model_versions(f"name = '{name}'")
        ):
            time.sleep(SECONDS_BETWEEN_CHECKS)
        yield
    finally:
        client.delete_model_version_tag(name, version.version, PREFIX + LEASE)


def _is_about_to_be_decided(version: ModelVersion) -> bool:
    lease = Lease.read(read_tags(version).get(LEASE, ""))
    return lease is not None and time.time() - lease.renewed < DECISION_SECONDS and lease.is_live()


def _decide(prepared: PreparedBoard, panel: EvaluatedPanel, champion: ModelVersion | None) -> Promotion:
    if champion is None:
        return Promotion(promoted=True, reason="there was no champion")
    split_id = read_tags(champion).get(SPLIT_ID, "unknown")
    if split_id != prepared.split_id:
        return Promotion(
            promoted=False,
            reason=f"the champion was tested on split {split_id}, not on {prepared.split_id}, and accuracies on "
            f"different images are not comparable; `triptych promote {prepared.config.name}/VERSION` decides by hand",
        )
    try:
        predictions = load_logged_predictions(str(champion.run_id))
    except (MlflowException, OSError, DamagedFileError):
        reason = f"the predictions of the champion's run {champion.run_id} no longer exist, or are damaged"
        return Promotion(promoted=False, reason=reason)
    return judge(load_logged_predictions(panel.run_id), predictions, prepared.config.evaluate.confidence_level)


def find_champion(name: str) -> ModelVersion | None:
    """Return the version that has the alias `champion`; None if there is none, or it was deleted."""
    try:
        return connect().get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def promote(name: str, version: str) -> str:
    """Make a version the champion by hand; return its number.

    Raises:
        ConfigError: there is no such version.
    """
    number = str(find_version(f"{name}/{version}").version)
    _move_alias(name, number, find_champion(name))
    return number


def rollback(name: str) -> str:
    """Make the previous champion the champion again; return its version.

    Raises:
        ConfigError: there is no champion, or no previous one.
    """
    champion = find_version(f"{name}@{CHAMPION}")
    previous = read_tags(champion).get(PREVIOUS)
    if not previous:
        raise ConfigError(f"version {champion.version} of {name!r} is its first champion: there is no previous one")
    try:
        connect().get_model_version(name, previous)
    except MlflowException as error:
        raise ConfigError(f"version {previous} of {name!r}, the previous champion, was deleted") from error
    connect().set_registered_model_alias(name, CHAMPION, previous)
    return str(previous)


def _move_alias(name: str, version: str, champion: ModelVersion | None) -> None:
    if champion is not None and str(champion.version) != version:
        connect().set_model_version_tag(name, version, PREFIX + PREVIOUS, str(champion.version))
    connect().set_registered_model_alias(name, CHAMPION, version)


def _register(
    name: str, prepared: PreparedBoard, panel: EvaluatedPanel, more_tags: Mapping[str, str] | None = None
) -> ModelVersion:
    """Register the model of a panel with its card and tags, or return the version that has it already."""
    client = connect()
    training = read_tags(client.get_run(panel.run_id)).get(TRAINING, "")
    found = _find_registered(name, prepared, panel, training)
    if found is not None:
        return found
    tags = {BOARD: prepared.config.name, PANEL: panel.panel, SPLIT_ID: prepared.split_id, LABEL: panel.label}
    tags |= {TRAINING: training, TEST_ACCURACY: f"{panel.metrics['test_accuracy']:.4f}"}
    disable_logging()  # MLflow prints two lines for each version
    try:
        version = mlflow.register_model(panel.model_uri, name, tags=own_tags({**tags, **(more_tags or {})}))
    finally:
        enable_logging()
    with TemporaryDirectory() as folder:
        model = Path(mlflow.artifacts.download_artifacts(panel.model_uri, dst_path=folder))
        for data in (model / "data").iterdir():
            check_checksums(data)
        card = write_card(prepared, panel, _digest_files(model / "data"))
    client.update_model_version(name, version.version, description=card)
    client.log_text(panel.run_id, card, CARD_FILE)
    return version


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


def _digest_files(folder: Path) -> str:
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


def fetch_model(reference: str, folder: Path, model_format: str = "mlflow") -> Path:
    """Download a registered model with its card and checksums; return the folder.

    Args:
        reference: NAME, NAME@ALIAS or NAME/VERSION.
        folder: must be empty or absent.
        model_format: "mlflow" as it was logged, or "onnx" as an ONNX model with `onnx.json`, which describes the input.

    Raises:
        ConfigError: there is no such model or format, the packages of the format are missing, or the folder is not
            empty.
        DamagedFileError: the files in the store are not those that were registered.
        ExportError: the ONNX model does not reproduce the probabilities of the logged model.
    """
    if model_format not in WRITERS:
        raise ConfigError(
            f"--format {model_format!r} is not allowed: use {' or '.join(WRITERS)}{suggest(model_format, WRITERS)}"
        )
    version = find_version(reference)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"folder {folder} is not empty: name a new one")
    except OSError as error:
        raise ConfigError(f"folder {folder} cannot be used ({error.strerror}): name another") from error
    if model_format == "onnx":
        check_packages()
    try:
        addition = WRITERS[model_format](version, folder)
    except DamagedFileError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / CARD_FILE).write_text((version.description or "") + addition, encoding="utf-8")
    write_checksums(folder)
    return folder


def load_version(version: ModelVersion) -> Any:
    """Return the model of a version, loaded by `mlflow.pyfunc`.

    Raises:
        ConfigError: its files are gone.
        DamagedFileError: they are not those that were logged.
    """
    uri = f"models:/{version.name}/{version.version}"
    with _explained(uri):
        return load_logged_model(uri)


def _download(version: ModelVersion, folder: str | Path) -> Path:
    """Download a registered model; return its folder, whose data are checked against the digest on its card.

    Raises:
        ConfigError: its files are gone.
        DamagedFileError: the data are not those that were registered.
    """
    uri = f"models:/{version.name}/{version.version}"
    with _explained(uri):
        model = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
        # MLflow downloads a folder that is not there as an empty one.
        if not (model / MODEL_FILE).is_file():
            raise FileNotFoundError(f"no {MODEL_FILE}")
    on_card = DIGEST_ON_CARD.search(version.description or "")
    if on_card and on_card[1] != _digest_files(model / "data"):
        reason = f"its SHA-256 is not {on_card[1]}, which is on its card"
        raise DamagedFileError(Path(uri), reason, "restore its files in the store, or name another version")
    return model


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Turn the errors of files that are gone into one that says so."""
    try:
        yield
    except (MlflowException, OSError) as error:
        raise ConfigError(
            f"the files of {uri} cannot be read ({describe_error(error)}): name another version, or train again with "
            "`triptych compare --fresh`"
        ) from error


def _write_logged(version: ModelVersion, folder: Path) -> str:
    _download(version, folder)
    return ""


def _write_onnx(version: ModelVersion, folder: Path) -> str:
    """Export a model; return what its card says about that."""
    with TemporaryDirectory() as downloaded:
        model = _download(version, downloaded)
        data = Model.load(str(model)).flavors["python_function"]["data"]
        exported = Path(downloaded) / "onnx"
        exported.mkdir()
        card = export_model(model / data, exported)
        # Copied only after it passed its check.
        shutil.copytree(exported, folder, dirs_exist_ok=True)
    return f"\n{card}"


# Each format's function writes a model to a folder, and returns what is added to its card.
WRITERS = {"mlflow": _write_logged, "onnx": _write_onnx}


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
        raise ConfigError(_explain_missing(name, f"alias {alias!r}" if separator else f"number {number!r}")) from error
    raise ConfigError(_explain_missing(name, f"number {number!r}"))


def _explain_missing(name: str, wanted: str) -> str:
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
