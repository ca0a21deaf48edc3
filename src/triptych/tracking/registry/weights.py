"""Registered models as a source of pretrained weights: pinned to a version, and downloaded to this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow

from triptych.config.names import REGISTERED, name_network
from triptych.config.schema import BoardConfig
from triptych.errors import WeightsError
from triptych.networks.checksums import check_checksums
from triptych.networks.trunks import complete_trunk
from triptych.system.checked import recall
from triptych.system.files import replace_atomically, touch
from triptych.tracking.registry.versions import find_version
from triptych.transfer.registered import FILES, ORIGIN, read_origin, registered_folder, write_origin


def pin_weights(config: BoardConfig) -> BoardConfig:
    """Download the registered weights of a board; return the board with their version instead of an alias.

    An alias may move later, but the record of a comparison must say which version it used.

    Raises:
        ConfigError: there is no such registered model.
        WeightsError: the model has no frozen network, or a different one from a panel's.
    """
    pinned: dict[str, str] = {}
    for part in config.backbone_parts:
        weights = config.for_panel(part).transfer.weights
        if weights.startswith(REGISTERED):
            pinned[weights] = pinned.get(weights) or _fetch(weights)
            _check_network(pinned[weights], part)
    if not pinned:
        return config
    shared = {"weights": pinned.get(config.transfer.weights, config.transfer.weights)}
    networks = {
        name: fields | ({"weights": pinned[fields["weights"]]} if fields.get("weights") in pinned else {})
        for name, fields in config.networks.items()
    }
    return config.model_copy(update={"transfer": config.transfer.model_copy(update=shared), "networks": networks})


def _check_network(pinned: str, part: str) -> None:
    description = json.loads((registered_folder(pinned) / FILES[0]).read_text(encoding="utf-8"))
    holds = description.get("backbone", "several networks")
    if name_network(part) != holds:
        raise WeightsError(f"weights {pinned!r} are those of {holds}, not of {part}: set transfer.weights to others")


def _fetch(weights: str) -> str:
    version = find_version(weights)
    pinned = f"{REGISTERED}{version.name}/{version.version}"
    folder = registered_folder(pinned)
    # In a store that was made anew, another model may have the same name and version.
    if recall(lambda: read_origin(folder)) != str(version.source):
        with TemporaryDirectory() as temporary:
            model = Path(mlflow.artifacts.download_artifacts(pinned, dst_path=temporary))
            _extract(model, folder, pinned)
        write_origin(folder, str(version.source))
    touch(folder / ORIGIN)
    return pinned


def _extract(model: Path, folder: Path, pinned: str) -> None:
    for data in (model / "data").iterdir():
        check_checksums(data)
        complete_trunk(data)
    for name in FILES:
        found = next((model / "data").rglob(name), None)
        if found is None:
            raise WeightsError(f"weights {pinned!r} hold no pretrained network: name the model of a transfer panel")
        with replace_atomically(folder / name) as partial:
            shutil.copyfile(found, partial)
