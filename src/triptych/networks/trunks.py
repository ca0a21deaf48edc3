"""The frozen network of a saved panel: beside its head, or stored once in MLflow for all panels that share it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from triptych.errors import DamagedFileError
from triptych.networks.checksums import reading_model, write_checksums

TRUNK_FILE = "backbone.safetensors"
# In its place: the logged model that has it, and its SHA-256.
REFERENCE_FILE = "backbone.json"
REMEDY = "set MLFLOW_TRACKING_URI to its store; if it is not whole there, `triptych compare --fresh` stores it again"


@contextmanager
def open_trunk(folder: Path) -> Iterator[Path]:
    """Yield the file of the frozen network of a saved panel, downloaded to a temporary folder if it is not beside it.

    Raises:
        DamagedFileError: it is not in the store that `MLFLOW_TRACKING_URI` names, or not what was saved.
    """
    if not (folder / REFERENCE_FILE).is_file():
        yield folder / TRUNK_FILE
        return
    with reading_model(folder / REFERENCE_FILE):
        reference = json.loads((folder / REFERENCE_FILE).read_text(encoding="utf-8"))
    with TemporaryDirectory() as temporary:
        yield _find(reference, temporary)


def _find(reference: dict[str, str], folder: str) -> Path:
    """Return the downloaded file; where that is gone or damaged, another one of the same name."""
    try:
        return _download(reference["model"], reference["sha256"], folder)
    except DamagedFileError:
        for model in _list_same(reference):
            with suppress(DamagedFileError):
                return _download(model, reference["sha256"], folder)
        raise


def _list_same(reference: dict[str, str]) -> list[str]:
    """Return the addresses of the logged models of the same network; none if the store does not know the experiment."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        found = MlflowClient().search_logged_models([reference["experiment"]], f"name = '{reference['name']}'")
    except MlflowException:
        return []
    return [f"models:/{model.model_id}" for model in found]


def _download(model: str, digest: str, folder: str) -> Path:
    from mlflow import artifacts
    from mlflow.exceptions import MlflowException

    try:
        file = Path(artifacts.download_artifacts(model, dst_path=folder), TRUNK_FILE)
    except (MlflowException, OSError) as error:
        raise DamagedFileError(Path(model), f"its frozen network cannot be read: {error}", REMEDY) from error
    if not file.is_file():
        raise DamagedFileError(Path(model), "its frozen network is missing", REMEDY)
    if hash_trunk(file) != digest:
        raise DamagedFileError(Path(model), "the SHA-256 of its frozen network is another", REMEDY)
    return file


def refer_to_trunk(folder: Path, model: str, name: str, experiment: str) -> None:
    """Replace the file of the frozen network by a reference to the logged model that has it.

    Args:
        folder: the saved panel.
        model: MLflow's address of the logged model.
        name: its name, which another one with the same network has as well.
        experiment: MLflow's id of its experiment.
    """
    reference = {"model": model, "name": name, "experiment": experiment, "sha256": hash_trunk(folder / TRUNK_FILE)}
    (folder / REFERENCE_FILE).write_text(json.dumps(reference) + "\n", encoding="utf-8")
    (folder / TRUNK_FILE).unlink()
    write_checksums(folder)


def name_trunk(folder: Path) -> str:
    """Return the name of the logged model that has the frozen network of a saved panel; empty if it is beside it."""
    file = folder / REFERENCE_FILE
    return str(json.loads(file.read_text(encoding="utf-8"))["name"]) if file.is_file() else ""


def complete_trunk(folder: Path) -> None:
    """Put the frozen network back beside its head, if it is stored elsewhere: the opposite of `refer_to_trunk`.

    Raises:
        DamagedFileError: it is not in the store that `MLFLOW_TRACKING_URI` names, or not what was saved.
    """
    if (folder / REFERENCE_FILE).is_file():
        with open_trunk(folder) as file:
            shutil.move(file, folder / TRUNK_FILE)
        (folder / REFERENCE_FILE).unlink()
        write_checksums(folder)


def hash_trunk(file: Path) -> str:
    """Return the SHA-256 of the file of a frozen network, hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
