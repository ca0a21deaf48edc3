"""Pretrained torchvision networks, cut in front of their last layer and frozen.

Weights and their preprocessing travel together: whoever loads the one gets the other.
"""

from __future__ import annotations

import copy
import hashlib
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torchvision.models
from numpy.typing import NDArray
from torch import Tensor, nn

from triptych.errors import WeightsError
from triptych.images.pixels import Pixels
from triptych.images.preprocessing import Preprocessing
from triptych.networks.precision import EXACT, FORMATS, normalise

State = Mapping[str, Tensor]
Embeddings = NDArray[np.float32]
# Seed of the weights of an untrained network, the same in every repeat: an ablation, not a lottery.
RANDOM_WEIGHTS_SEED = 0
TRANSFORMING_NETWORKS, TRANSFORMS_INPUT = ("googlenet", "inception_v3"), "transform_input"
# The released DenseNets name their layers as PyTorch 0.3 did: `norm.1` for `norm1`.
OLD_DENSENET_KEY = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")
_drawing = threading.Lock()


@dataclass(frozen=True)
class Backbone:
    """A frozen network without its last layer.

    Attributes:
        name: torchvision's name of the network.
        weights: where the weights came from, as configured.
        trunk: the network in eval mode, no gradients: (batch, 3, crop, crop) -> (batch, dimension).
        preprocessing: what its inputs go through.
        dimension: length of an embedding.
        head_dropout: probability of the dropout directly in front of the last layer; it belongs to the head.
        cut_layer: name of the layer that was taken off.
        number_format: what it is computed in, a row of `triptych.networks.precision.FORMATS`.
        device: where it is computed, "cpu" or "cuda"; `trunk` itself stays on the CPU.
    """

    name: str
    weights: str
    trunk: nn.Module
    preprocessing: Preprocessing
    dimension: int
    head_dropout: float
    cut_layer: str
    number_format: str = EXACT
    device: str = "cpu"

    def digest(self) -> str:
        """Return the SHA-256 of every parameter and buffer, hexadecimal: equal only if byte-equal."""
        digest = hashlib.sha256()
        for key, value in sorted(self.trunk.state_dict().items()):
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def in_format(self, number_format: str) -> Backbone:
        """Return the same network, computed in another number format."""
        return self if number_format == self.number_format else replace(self, number_format=number_format)

    def on_device(self, device: str) -> Backbone:
        """Return the same network, computed elsewhere."""
        return self if device == self.device else replace(self, device=device)

    @cached_property
    def _prepared(self) -> nn.Module:
        """The network as it is computed; made when it is first needed."""
        trunk = self.trunk if self.device == "cpu" else copy.deepcopy(self.trunk).to(self.device)
        return FORMATS[self.number_format].prepare(trunk)

    def embed(self, images: Iterable[Pixels]) -> Embeddings:
        """Return the embeddings, (n, dimension) float32, of raw images (height, width, channels) uint8."""
        return self.embed_crops(np.stack([self.preprocessing.crop(image) for image in images]))

    def embed_crops(self, crops: Pixels) -> Embeddings:
        """Return the embeddings, (n, dimension) float32, of images that are cut out, (n, crop, crop, 3) uint8."""
        return fetch(self.launch(crops))

    def launch(self, crops: Pixels) -> Tensor:
        """Return the embeddings of `embed_crops` where they are computed; a GPU may still be at it."""
        chosen = FORMATS[self.number_format]
        network = self._prepared  # before anything is rounded: what is folded is proved in full precision
        batch = torch.from_numpy(crops)
        if self.device != "cpu":
            batch = batch.pin_memory().to(self.device, non_blocking=True)
        with chosen.computing(self.device):
            inputs = normalise(batch, self.preprocessing.mean, self.preprocessing.std)
            embeddings: Tensor = network(inputs.contiguous(memory_format=chosen.memory_format))
            return embeddings.float()


def fetch(embeddings: Tensor) -> Embeddings:
    """Return what `Backbone.launch` has begun, (n, dimension) float32, when it is done."""
    fetched: Embeddings = embeddings.cpu().numpy()
    return fetched


def assemble_backbone(
    name: str, weights: str, preprocessing: Preprocessing, state: State | None, *, trunk_only: bool = False
) -> Backbone:
    """Return a network with the given state, cut and frozen; without a state its weights are random.

    Args:
        name: torchvision's name of the network.
        weights: where the weights came from, as configured.
        preprocessing: what belongs to the weights.
        state: the whole network's state dict, or that of the trunk alone.
        trunk_only: the state is the trunk's.

    Raises:
        WeightsError: the state is not this network's.
    """
    cut_layer, classes = _find_last_layer(build_network(name, empty=True))
    if state is not None and f"{cut_layer}.weight" in state:
        classes = state[f"{cut_layer}.weight"].shape[0]
    network = build_network(name, num_classes=classes, empty=state is not None)
    if state is not None and not trunk_only:
        _load_strictly(network, state, f"weights {weights!r}", name)
    dimension, head_dropout = _cut(network, cut_layer)
    if state is not None and trunk_only:
        _load_strictly(network, state, f"weights {weights!r}", name)
    network.requires_grad_(requires_grad=False).eval()
    network.to(memory_format=torch.channels_last)
    return Backbone(name, weights, network, preprocessing, dimension, head_dropout, cut_layer)


def build_network(name: str, num_classes: int = 1000, *, empty: bool = False) -> nn.Module:
    """Return a torchvision network with random weights, the same ones every time.

    torchvision draws them from the process's one generator: it is borrowed by one thread at a time, and put
    back as it was.

    Args:
        name: torchvision's name of the network.
        num_classes: outputs of its last layer.
        empty: leave the weights out, on PyTorch's meta device: drawing those of a large network takes seconds.
    """
    with _drawing, warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # on the slow initialisation of GoogLeNet and Inception
        torch.manual_seed(RANDOM_WEIGHTS_SEED)
        try:
            with torch.device("meta") if empty else nullcontext():
                network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
        except RuntimeError:  # a RegNet computes its widths with tensors, which must have values
            network = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
    if name in TRANSFORMING_NETWORKS:
        # Their weights come from another framework; torchvision sets this only where it loads them itself.
        setattr(network, TRANSFORMS_INPUT, True)
    return network


def _find_last_layer(network: nn.Module) -> tuple[str, int]:
    """Return the name of the layer that gives the class scores, and its number of classes."""
    if isinstance(network, torchvision.models.SqueezeNet):
        return "classifier.1", 1000
    linears = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    name, last = linears[-1]
    return name, last.out_features


def _cut(network: nn.Module, layer: str) -> tuple[int, float]:
    """Replace the last layer by the identity; return its inputs and the probability of the dropout before it.

    SqueezeNet ends in a 1 x 1 convolution whose scores are averaged over the image. Averaging and a linear map
    may change places, so its trunk is averaged and its new last layer is linear as everywhere.
    """
    if isinstance(network, torchvision.models.SqueezeNet):
        dropout, convolution = network.classifier[0], network.classifier[1]
        network.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return convolution.in_channels, dropout.p
    parent = network.get_submodule(layer.rpartition(".")[0])
    children = list(parent.named_children())
    names = [name for name, _ in children]
    position = names.index(layer.rpartition(".")[2])
    before = children[position - 1][1] if position else None
    last: Any = children[position][1]
    setattr(parent, names[position], nn.Identity())
    return last.in_features, before.p if isinstance(before, nn.Dropout) else 0.0


def _load_strictly(network: nn.Module, state: State, source: str, name: str) -> None:
    named = OrderedDict((OLD_DENSENET_KEY.sub(r"\1\2", key), value) for key, value in state.items())
    # MNASNet reads its version from what files of plain tensors lack.
    named._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        network.load_state_dict(named, strict=True, assign=True)
    except RuntimeError as error:
        details = [line.strip() for line in str(error).splitlines()[1:2]]
        raise WeightsError(
            f"{source} do not fit {name}: {' '.join(details)[:160]}; name weights of that network"
        ) from error
