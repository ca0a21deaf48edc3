"""Networks and weights in Hugging Face folders: `config.json` and safetensors, of transformers or timm.

Nothing is downloaded or unpickled, and no code of the folder is run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import torch

from triptych.config.names import HUGGING_FACE
from triptych.errors import WeightsError, describe_error
from triptych.networks.backbones import NO_SOURCE, State, drawing_weights
from triptych.networks.families.hugging_face import Pooled, TransformersNetwork, without_network
from triptych.networks.families.table import TIMM_KEY, Source
from triptych.networks.families.timm_networks import TimmNetwork
from triptych.networks.light_torch import without_values
from triptych.transfer.sources.timm_hub import load_as_timm

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"


def is_folder(name: str) -> bool:
    """Return whether a network is described by a Hugging Face folder."""
    return name.startswith(HUGGING_FACE)


def read_source(name: str, folder: str) -> Source:
    """Return the description of a network from its folder; empty if it needs none.

    Args:
        name: name of the network.
        folder: the folder, if the network has one.

    Raises:
        WeightsError: the folder lacks something, a file in it is damaged, or transformers has no such network.
    """
    if not is_folder(name):
        return NO_SOURCE
    config = _read_json(name, Path(folder, CONFIG))
    if TIMM_KEY in config:
        return {"config": config}
    source = {"config": config, "preprocessor": _read_json(name, Path(folder, PREPROCESSOR))}
    network = TransformersNetwork(name, source)
    with drawing_weights(), without_values():
        model = network.build_model()
    return {**source, "pooling": network.find_pooling(model, _list_keys(name, folder))}


def load_folder(name: str, folder: str, source: Source) -> State:
    """Return the weights in a folder, as transformers or timm load them.

    Raises:
        WeightsError: a file is damaged, or lacks weights.
    """
    config = source["config"]
    if TIMM_KEY in config:
        files = sorted(Path(folder).glob("*.safetensors"))
        return load_as_timm(TimmNetwork(name, config), files[0])
    network = TransformersNetwork(name, source)
    try:
        with drawing_weights(), without_network():
            model, info = network.import_transformers().AutoModel.from_pretrained(
                folder,
                config=network.describe(),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # of transformers, safetensors and PyTorch
        raise WeightsError(
            f"the weights in {folder} cannot be read ({describe_error(error)[:160]}): save them anew"
        ) from error
    state: dict[str, Any] = Pooled(model, source["pooling"]).state_dict()
    if missing := sorted(key for key in info["missing_keys"] if f"model.{key}" in state):
        raise WeightsError(f"the weights in {folder} lack {missing[0]}: save the whole network there")
    return state


def _list_keys(name: str, folder: str) -> set[str]:
    """Return the names of the weights in a folder, from the headers of its files."""
    keys: set[str] = set()
    for file in sorted(Path(folder).glob("*.safetensors")):
        try:
            with safetensors.safe_open(file, framework="pt") as opened:
                keys |= set(opened.keys())
        except Exception as error:  # of safetensors, which documents none
            raise WeightsError(f"{file} of {name} is damaged or not safetensors: save the folder anew") from error
    return keys


def _read_json(name: str, file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, RecursionError, ValueError, TypeError) as error:
        raise WeightsError(
            f"{file} of {name} is missing or damaged ({describe_error(error)[:100]}): save the folder anew, with "
            "save_pretrained of the network and of its image processor"
        ) from error
