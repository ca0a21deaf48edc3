"""Weights of pretrained networks: torchvision's, files, registered ones, the bundled ones, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
import torchvision.models
from torch import Tensor

from triptych.config.names import REGISTERED, WEIGHTS_SUFFIXES
from triptych.errors import WeightsError, suggest
from triptych.images.preprocessing import Preprocessing
from triptych.networks.backbones import Backbone, State, assemble_backbone
from triptych.transfer.bundled.card import FOLDER as BUNDLED
from triptych.transfer.bundled.card import read_card
from triptych.transfer.registered import load_registered_weights

IMAGENET = "IMAGENET1K_V1"


def load_backbone(name: str, weights: str) -> Backbone:
    """Return a network with the weights that a `transfer.weights` names, cut and frozen.

    Raises:
        WeightsError: the weights are unknown, missing, cannot be downloaded, or are another network's.
    """
    if weights.startswith(REGISTERED):
        trunk, preprocessing = load_registered_weights(name, weights)
        return assemble_backbone(name, weights, preprocessing, trunk, trunk_only=True)
    state, preprocessing = load_weights(name, weights)
    return assemble_backbone(name, weights, preprocessing, state)


def load_weights(name: str, weights: str) -> tuple[State | None, Preprocessing]:
    """Return the state dict (None for random weights) and the preprocessing that a `transfer.weights` names.

    Raises:
        WeightsError: they are unknown, missing, damaged or cannot be downloaded.
    """
    if Path(weights).suffix in WEIGHTS_SUFFIXES:
        return read_state(Path(weights)), default_preprocessing(name)
    if weights in SOURCES:
        return SOURCES[weights](name)
    return load_named_weights(name, weights)


def load_bundled_weights(name: str) -> tuple[State, Preprocessing]:
    """Return the small network that ships with this project."""
    card = read_card()
    if name != card["architecture"]:
        raise WeightsError(f"weights 'bundled' are those of {card['architecture']}, not of {name}: name another file")
    return read_state(BUNDLED / card["weights"]), Preprocessing.from_json(card["preprocessing"])


def load_named_weights(name: str, weights: str) -> tuple[State, Preprocessing]:
    """Return torchvision's weights by the name in their enum, from `TORCH_HOME` or downloaded to it."""
    known = torchvision.models.get_model_weights(name)
    choice = weights.rpartition(".")[2]
    if choice not in known.__members__:
        choices = [*SOURCES, *known.__members__]
        raise WeightsError(
            f"unknown weights {weights!r} for {name}: a file ({', '.join(WEIGHTS_SUFFIXES)}) or one of "
            f"{', '.join(choices)}{suggest(weights, choices)}"
        )
    member = known[choice]
    try:
        state = member.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        place = Path(torch.hub.get_dir()) / "checkpoints" / member.url.rpartition("/")[2]
        raise WeightsError(
            f"weights {weights!r} of {name} are not at {place} and could not be downloaded ({error}): put the file "
            f"there, or name another with transfer.weights"
        ) from error
    return state, Preprocessing.of(member.transforms())


def default_preprocessing(name: str) -> Preprocessing:
    """Return the preprocessing of a network's first ImageNet weights, for weights that come without one."""
    known = torchvision.models.get_model_weights(name)
    member = known[IMAGENET] if IMAGENET in known.__members__ else next(iter(known))
    return Preprocessing.of(member.transforms())


def read_state(file: Path) -> dict[str, Tensor]:
    """Return a state dict from a `.safetensors` or `.pth` file as float32, never unpickling code.

    Raises:
        WeightsError: the file is missing, damaged or holds something else.
    """
    if not file.is_file():
        raise WeightsError(f"weights file {file} does not exist: check transfer.weights")
    try:
        state = safetensors.torch.load_file(file) if file.suffix == ".safetensors" else _read_pth(file)
    except Exception as error:  # each format has errors of its own, and none is documented
        raise WeightsError(f"weights file {file} cannot be read ({_first_line(error)}): fetch it again") from error
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def _read_pth(file: Path) -> dict[str, Tensor]:
    content = torch.load(file, map_location="cpu", weights_only=True)
    state = content.get("state_dict", content)
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("it holds no state dict")
    return dict(state)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"


SOURCES: dict[str, Callable[[str], tuple[State | None, Preprocessing]]] = {
    "imagenet": lambda name: load_named_weights(name, IMAGENET),
    "bundled": load_bundled_weights,
    "random": lambda name: (None, default_preprocessing(name)),
}
