"""Weights of a network that was registered in MLflow: `transfer.weights = models:/NAME@ALIAS`.

`triptych.tracking` downloads the files to the cache. PyTorch is imported only when weights are loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from triptych.config.names import REGISTERED
from triptych.errors import WeightsError
from triptych.images.preprocessing import Preprocessing
from triptych.system.paths import cache_home

FILES = ("model.json", "backbone.safetensors")


def registered_folder(weights: str) -> Path:
    """Return the cache folder of the files of `models:/NAME/VERSION`.

    >>> registered_folder("models:/digits-resnet50/3").parts[-3:]
    ('backbones', 'digits-resnet50', '3')
    """
    return cache_home() / "backbones" / weights.removeprefix(REGISTERED)


def load_registered_weights(name: str, weights: str) -> tuple[dict[str, Any], Preprocessing]:
    """Return the state dict of the backbone, and the preprocessing that belongs to it.

    Args:
        name: torchvision's name of the network.
        weights: `models:/NAME/VERSION`; its files must be in the cache.

    Raises:
        WeightsError: the files are missing, or those of another network.
    """
    from safetensors.torch import load_file

    folder = registered_folder(weights)
    if not all((folder / file).is_file() for file in FILES):
        raise WeightsError(
            f"weights {weights!r} are not in {folder}: run `triptych compare` with them, which downloads them"
        )
    description = json.loads((folder / FILES[0]).read_text(encoding="utf-8"))
    if description["backbone"] != name:
        raise WeightsError(f"weights {weights!r} belong to {description['backbone']}, not to {name}: choose others")
    return load_file(folder / FILES[1]), Preprocessing.from_json(description["preprocessing"])
