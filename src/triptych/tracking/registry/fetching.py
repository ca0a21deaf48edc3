"""Registered models as they are taken home: downloaded, checked, and written in a format."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model

from triptych.errors import ConfigError, DamagedFileError, suggest
from triptych.networks.checksums import write_checksums
from triptych.networks.trunks import complete_trunk
from triptych.panels.onnx_export import check_packages, export_model
from triptych.tracking.registry.loading import explained
from triptych.tracking.registry.versions import CARD_FILE, digest_files, find_version

MODEL_FILE = "MLmodel"
DIGEST_ON_CARD = re.compile(r"weights SHA-256 ([0-9a-f]{64})")


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
    if model_format == "onnx":
        check_packages()
    version = find_version(reference)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"folder {folder} is not empty: name a new one")
    except OSError as error:
        raise ConfigError(f"folder {folder} cannot be used ({error.strerror}): name another") from error
    try:
        addition = WRITERS[model_format](version, folder)
    except DamagedFileError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / CARD_FILE).write_text((version.description or "") + addition, encoding="utf-8")
    write_checksums(folder)
    return folder


def _download(version: ModelVersion, folder: str | Path) -> Path:
    """Download a registered model; return its folder, whose data are checked against the digest on its card.

    Raises:
        ConfigError: its files are gone.
        DamagedFileError: the data are not those that were registered.
    """
    uri = f"models:/{version.name}/{version.version}"
    with explained(uri):
        model = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
        # MLflow downloads a folder that is not there as an empty one.
        if not (model / MODEL_FILE).is_file():
            raise FileNotFoundError(f"no {MODEL_FILE}")
    for data in (model / "data").iterdir():
        complete_trunk(data)
    on_card = DIGEST_ON_CARD.search(version.description or "")
    if on_card and on_card[1] != digest_files(model / "data"):
        reason = f"its SHA-256 is not {on_card[1]}, which is on its card"
        raise DamagedFileError(Path(uri), reason, "restore its files in the store, or name another version")
    return model


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
