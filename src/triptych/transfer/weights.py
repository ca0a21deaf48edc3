"""Weights of pretrained networks: from torchvision, timm, a file or folder, MLflow's registry, bundled, or random.

Only functions named fetch_ download; weights from the registry are downloaded by `triptych.tracking`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from triptych.config.names import REGISTERED, WEIGHTS_SUFFIXES, list_parts, name_network
from triptych.errors import WeightsError, suggest
from triptych.images.preprocessing import Preprocessing
from triptych.networks.backbones import NO_SOURCE, Backbone, State, assemble_backbone, build_network
from triptych.networks.cuts.nodes import WITHOUT_LAST_LAYER, Cut
from triptych.networks.families.table import Source, find_architecture
from triptych.networks.light_torchvision import models
from triptych.transfer.bundled.card import FOLDER as BUNDLED
from triptych.transfer.bundled.card import read_card
from triptych.transfer.registered import load_registered_weights
from triptych.transfer.sources.hugging_face import is_folder, load_folder, read_source
from triptych.transfer.sources.timm_hub import check_timm_weights, fetch_timm_weights, is_timm, load_timm_weights
from triptych.transfer.state_files import read_shapes, read_state

if TYPE_CHECKING:
    from triptych.config.schema import BoardConfig
    from triptych.config.trainers import TransferConfig

# A value of `transfer.weights`, and the torchvision weights that it stands for.
IMAGENET, IMAGENET_WEIGHTS = "imagenet", "IMAGENET1K_V1"


def fetch_backbone(panel: str, settings: TransferConfig) -> Backbone:
    """Return the backbone of a panel, after downloading weights that are missing.

    Args:
        panel: the panel.
        settings: its section `transfer`.

    Raises:
        ConfigError: the network cannot be cut there.
        WeightsError: the weights are unknown, missing, cannot be downloaded, or are those of another network.
    """
    [backbone] = fetch_backbones(name_network(panel), settings.weights, [Cut(settings.cut, settings.pooling)])
    return backbone


def fetch_combined(panel: str, config: BoardConfig) -> list[Backbone]:
    """Return the backbones that a panel combines, in order; of any other panel with a backbone, its own.

    Args:
        panel: the panel.
        config: its board.

    Raises:
        ConfigError: a network cannot be cut there.
        WeightsError: the weights are unknown, missing, cannot be downloaded, or are those of another network.
    """
    return [fetch_backbone(part, config.for_panel(part).transfer) for part in list_parts(panel)]


def fetch_backbones(name: str, weights: str, cuts: Sequence[Cut]) -> list[Backbone]:
    """Return a pretrained network, cut at several places, after downloading weights that are missing.

    Args:
        name: name of the network.
        weights: a value of `transfer.weights`.
        cuts: where it is cut.

    Raises:
        ConfigError: the network cannot be cut there.
        WeightsError: the weights are unknown, missing, cannot be downloaded, or are those of another network.
    """
    fetch_weights(name, weights)
    source = read_source(name, weights)
    state, preprocessing = load_weights(name, weights, source)
    return [assemble_backbone(name, weights, preprocessing, state, cut, source) for cut in cuts]


def load_backbone(name: str, weights: str, cut: Cut = WITHOUT_LAST_LAYER) -> Backbone:
    """Return a pretrained network without the layers above a cut, frozen.

    Args:
        name: name of the network.
        weights: a value of `transfer.weights`.
        cut: where it is cut.

    Raises:
        ConfigError: the network cannot be cut there.
        WeightsError: the weights are unknown, missing, or those of another network.

    >>> load_backbone("shufflenet_v2_x0_5", "bundled").dimension
    1024
    >>> load_backbone("shufflenet_v2_x0_5", "bundled", Cut("stage2")).dimension
    48
    """
    source = read_source(name, weights)
    state, preprocessing = load_weights(name, weights, source)
    return assemble_backbone(name, weights, preprocessing, state, cut, source)


def load_weights(name: str, weights: str, source: Source = NO_SOURCE) -> tuple[State | None, Preprocessing]:
    """Return the state dict of a network, None for random weights, and its preprocessing.

    Args:
        name: name of the network.
        weights: a value of `transfer.weights`.
        source: what else describes the network.

    Raises:
        WeightsError: the weights are unknown, missing or damaged.
    """
    if is_folder(name):
        return load_folder(name, weights, source), default_preprocessing(name, source)
    if weights.startswith(REGISTERED):
        return load_registered_weights(name, weights)
    if is_timm(name) and weights == IMAGENET:
        return load_timm_weights(name), default_preprocessing(name)
    if Path(weights).suffix in WEIGHTS_SUFFIXES:
        return read_state(Path(weights)), default_preprocessing(name)
    if weights in LOADERS:
        return LOADERS[weights](name)
    return load_torchvision_weights(name, weights)


def load_bundled_weights(name: str) -> tuple[State, Preprocessing]:
    """Return the weights of the small network that ships with this package.

    Raises:
        WeightsError: another network is asked for.
    """
    card = read_card()
    if name != card["architecture"]:
        raise WeightsError(f"weights 'bundled' belong to {card['architecture']}, not to {name}: choose others")
    return read_state(BUNDLED / card["weights"]), Preprocessing.from_json(card["preprocessing"])


def load_torchvision_weights(name: str, weights: str) -> tuple[State, Preprocessing]:
    """Return torchvision's weights by their name, such as IMAGENET1K_V2, from `TORCH_HOME`.

    Raises:
        WeightsError: the weights are unknown, missing or damaged.
    """
    member = _find_torchvision(name, weights)
    file = cached_file(member)
    if not file.is_file():
        raise WeightsError(
            f"weights {weights!r} of {name} are not at {file}: run `triptych compare` with them, which downloads them"
        )
    try:
        state = member.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # PyTorch does not document which errors a damaged file raises
        raise WeightsError(f"weights file {file} cannot be read ({_first_line(error)}): delete it") from error
    return state, Preprocessing.of(member.transforms())


def check_weights(name: str, weights: str, cut: Cut = WITHOUT_LAST_LAYER) -> Backbone | None:
    """Check that there are such weights, and that those in a file and the cut fit a network, without reading values.

    Args:
        name: name of the network.
        weights: a value of `transfer.weights`.
        cut: where it is cut.

    Returns:
        The backbone without values, on PyTorch's meta device; None if there was no need to build it.

    Raises:
        ConfigError: the network cannot be cut there.
        WeightsError: the weights are unknown, or the file is missing, damaged, or of another network.
    """
    source = read_source(name, weights)
    if Path(weights).suffix in WEIGHTS_SUFFIXES:
        return assemble_backbone(name, weights, default_preprocessing(name), read_shapes(Path(weights)), cut)
    if is_timm(name) and weights == IMAGENET:
        check_timm_weights(name)
    elif not source and not weights.startswith(REGISTERED) and weights not in LOADERS:
        _find_torchvision(name, weights)
    if cut.is_penultimate and not name.partition(":")[1]:
        return None
    shapes = build_network(name, empty=True, source=source).to("meta").state_dict()
    return assemble_backbone(name, weights, default_preprocessing(name, source), shapes, cut, source)


def fetch_weights(name: str, weights: str) -> None:
    """Download torchvision's weights to `TORCH_HOME`, or timm's to `HF_HOME`, if they are missing; no others are.

    Raises:
        WeightsError: the weights are unknown or cannot be downloaded.
    """
    if is_timm(name) and weights == IMAGENET:
        fetch_timm_weights(name)
        return
    if (
        is_folder(name)
        or Path(weights).suffix in WEIGHTS_SUFFIXES
        or weights.startswith(REGISTERED)
        or weights in LOADERS
    ):
        return
    member = _find_torchvision(name, weights)
    file = cached_file(member)
    if file.is_file():
        return
    try:
        member.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"weights {weights!r} of {name} are not at {file} and could not be downloaded ({error}): put the file "
            "there, or choose others with transfer.weights"
        ) from error


def _find_torchvision(name: str, weights: str) -> Any:
    """Return the member of torchvision's enum of weights."""
    if is_timm(name):
        raise WeightsError(
            f"unknown weights {weights!r} for {name}: choose {IMAGENET}, timm's own, a file or random; timm has other "
            "weights as other networks, such as timm:resnet18.a1_in1k"
        )
    known = models.get_model_weights(name)
    choice = IMAGENET_WEIGHTS if weights == IMAGENET else weights.rpartition(".")[2]
    if choice not in known.__members__:
        choices = [IMAGENET, *LOADERS, *known.__members__]
        raise WeightsError(
            f"unknown weights {weights!r} for {name}: choose a file ({', '.join(WEIGHTS_SUFFIXES)}) or one of "
            f"{', '.join(choices)}{suggest(weights, choices)}"
        )
    return known[choice]


def cached_file(member: Any) -> Path:
    """Return where torchvision keeps weights, a member of its enum, whether they are there or not."""
    return Path(torch.hub.get_dir(), "checkpoints", member.url.rpartition("/")[2])


def default_preprocessing(name: str, source: Source = NO_SOURCE) -> Preprocessing:
    """Return the preprocessing of a network's own weights, for weights that come without theirs.

    >>> default_preprocessing("resnet50").crop_size
    224
    """
    return find_architecture(name, source).preprocess()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"


# Weights that are neither a file, nor torchvision's, nor registered.
LOADERS: dict[str, Callable[[str], tuple[State | None, Preprocessing]]] = {
    "bundled": load_bundled_weights,
    "random": lambda name: (None, default_preprocessing(name)),
}
