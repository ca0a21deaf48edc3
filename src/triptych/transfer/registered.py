"""Weights of a network that was registered in MLflow: `transfer.weights = models:/NAME@ALIAS`.

`triptych.tracking` downloads the files to the cache, where each store has a folder of its own. PyTorch is imported only
when weights are loaded.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from triptych.config.names import REGISTERED
from triptych.errors import DamagedFileError, WeightsError
from triptych.images.preprocessing import Preprocessing
from triptych.system.addresses import tracking_uri
from triptych.system.checked import hash_file, read_json, reading, write_json
from triptych.system.paths import cache_home

FILES = ("model.json", "backbone.safetensors")
# Says which model the files are of, and holds their checksums; written last.
ORIGIN = "origin.json"


def registered_folder(weights: str) -> Path:
    """Return the cache folder of the files of `models:/NAME/VERSION` in the store that is used.

    >>> registered_folder("models:/digits-resnet50/3").parts[-2:]
    ('digits-resnet50', '3')
    """
    store = hashlib.sha256(tracking_uri().encode()).hexdigest()[:16]
    return cache_home() / "backbones" / store / weights.removeprefix(REGISTERED)


def write_origin(folder: Path, model: str) -> None:
    """Write which logged model the files in a folder are of, and their checksums."""
    files = {name: hash_file(folder / name).hex() for name in FILES}
    write_json(folder / ORIGIN, {"model": model, "files": files})


def read_origin(folder: Path) -> str:
    """Return which logged model the files in a folder are of, after checking them.

    Raises:
        DamagedFileError: a file is not what was downloaded.
        FileNotFoundError: a file is missing.
    """
    origin = read_json(folder / ORIGIN)
    for name, checksum in origin["files"].items():
        with reading(folder / name):
            if hash_file(folder / name).hex() != checksum:
                raise DamagedFileError(folder / name, "its checksum is wrong")
    return str(origin["model"])


def load_registered_weights(name: str, weights: str) -> tuple[dict[str, Any], Preprocessing]:
    """Return the state dict of the backbone, and the preprocessing that belongs to it.

    Args:
        name: name of the network.
        weights: `models:/NAME/VERSION`; its files must be in the cache.

    Raises:
        DamagedFileError: the files are not what was downloaded.
        WeightsError: the files are missing, or those of another network.
    """
    from safetensors.torch import load_file

    folder = registered_folder(weights)
    try:
        read_origin(folder)
    except FileNotFoundError as error:
        raise WeightsError(
            f"weights {weights!r} are not in {folder}: run `triptych compare` with them, which downloads them"
        ) from error
    description = json.loads((folder / FILES[0]).read_text(encoding="utf-8"))
    if description["backbone"] != name:
        raise WeightsError(f"weights {weights!r} belong to {description['backbone']}, not to {name}: choose others")
    return load_file(folder / FILES[1]), Preprocessing.from_json(description["preprocessing"])
