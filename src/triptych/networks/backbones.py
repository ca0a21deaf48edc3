"""Pretrained torchvision networks, frozen and without their last layer.

A backbone keeps its weights together with the preprocessing that belongs to them.
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
from numpy.typing import NDArray
from torch import Tensor, nn

from triptych.errors import WeightsError
from triptych.images.pixels import Pixels
from triptych.images.preprocessing import Preprocessing
from triptych.networks.light_torch import without_values
from triptych.networks.light_torchvision import models
from triptych.networks.precision import EXACT, FORMATS, normalise

State = Mapping[str, Tensor]
Embeddings = NDArray[np.float32]
# Seed of random weights. All repeats use the same, so that they differ in the head alone.
RANDOM_WEIGHTS_SEED = 0
TRANSFORMING_NETWORKS, TRANSFORMS_INPUT = ("googlenet", "inception_v3"), "transform_input"
# The released DenseNet weights use the layer names of PyTorch 0.3: `norm.1` for `norm1`.
OLD_DENSENET_KEY = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")
# Guards PyTorch's global generator, which all threads share.
_generator_lock = threading.Lock()


@dataclass(frozen=True)
class Backbone:
    """A frozen network without its last layer.

    Attributes:
        name: torchvision's name of the network.
        weights: source of the weights, as configured.
        trunk: the network in eval mode, without gradients: (batch, 3, crop, crop) -> (batch, dimension).
        preprocessing: turns raw images into inputs.
        dimension: length of an embedding.
        head_dropout: probability of the dropout before the last layer, which the head applies; 0 if there is none.
        cut_layer: name of the layer that was removed.
        number_format: how it is computed, a row of `triptych.networks.precision.FORMATS`.
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
        """Return the SHA-256 of all parameters and buffers, hexadecimal."""
        digest = hashlib.sha256()
        for key, value in sorted(self.trunk.state_dict().items()):
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def in_format(self, number_format: str) -> Backbone:
        """Return the same network in another number format."""
        return self if number_format == self.number_format else replace(self, number_format=number_format)

    def on_device(self, device: str) -> Backbone:
        """Return the same network on another device."""
        return self if device == self.device else replace(self, device=device)

    @cached_property
    def _prepared(self) -> nn.Module:
        """The network on its device and in its number format, prepared on first use."""
        trunk = self.trunk if self.device == "cpu" else copy.deepcopy(self.trunk).to(self.device)
        return FORMATS[self.number_format].prepare(trunk)

    def embed(self, images: Iterable[Pixels]) -> Embeddings:
        """Return the embeddings, (n, dimension) float32, of raw images, each (height, width, channels) uint8."""
        return self.embed_crops(np.stack([self.preprocessing.crop(image) for image in images]))

    def embed_crops(self, crops: Pixels) -> Embeddings:
        """Return the embeddings, (n, dimension) float32, of cropped images, (n, crop, crop, 3) uint8."""
        return fetch(self.launch(crops))

    def launch(self, crops: Pixels) -> Tensor:
        """Start to compute the embeddings of crops; return them on the device, without waiting for a GPU."""
        chosen = FORMATS[self.number_format]
        network = self._prepared  # before autocast begins: folding is verified in full precision
        batch = torch.from_numpy(crops)
        if self.device != "cpu":
            batch = batch.pin_memory().to(self.device, non_blocking=True)
        with chosen.computing(self.device):
            inputs = normalise(batch, self.preprocessing.mean, self.preprocessing.std)
            embeddings: Tensor = network(inputs.contiguous(memory_format=chosen.memory_format))
            return embeddings.float()


def fetch(embeddings: Tensor) -> Embeddings:
    """Wait for the embeddings of `Backbone.launch`, and return them as an array, (n, dimension) float32."""
    fetched: Embeddings = embeddings.cpu().numpy()
    return fetched


def assemble_backbone(
    name: str, weights: str, preprocessing: Preprocessing, state: State | None, *, trunk_only: bool = False
) -> Backbone:
    """Return a frozen network without its last layer, with the given weights.

    Args:
        name: torchvision's name of the network.
        weights: source of the weights, as configured.
        preprocessing: turns raw images into inputs for these weights.
        state: the state dict of the whole network or of its trunk; None means random weights.
        trunk_only: whether the state is the trunk's.

    Raises:
        WeightsError: the state does not fit the network.
    """
    cut_layer, classes = _find_last_layer(build_network(name, empty=True))
    if state is not None and f"{cut_layer}.weight" in state:
        classes = state[f"{cut_layer}.weight"].shape[0]
    network = build_network(name, num_classes=classes, empty=state is not None)
    if state is not None and not trunk_only:
        _assign_state(network, state, f"weights {weights!r}", name)
    dimension, head_dropout = _cut(network, cut_layer)
    if state is not None and trunk_only:
        _assign_state(network, state, f"weights {weights!r}", name)
    network.requires_grad_(requires_grad=False).eval()
    network.to(memory_format=torch.channels_last)
    return Backbone(name, weights, network, preprocessing, dimension, head_dropout, cut_layer)


def build_network(name: str, num_classes: int = 1000, *, empty: bool = False) -> nn.Module:
    """Return a torchvision network with random weights, the same in every call.

    torchvision draws them from PyTorch's global generator. A lock admits one thread at a time, and the state of the
    generator is restored afterwards.

    Args:
        name: torchvision's name of the network.
        num_classes: outputs of its last layer.
        empty: create the weights on PyTorch's meta device, without values: drawing them can take seconds.
    """
    with _generator_lock, warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # about the slow initialisation of GoogLeNet and Inception
        torch.manual_seed(RANDOM_WEIGHTS_SEED)
        try:
            with without_values() if empty else nullcontext():
                network: nn.Module = models.get_model(name, weights=None, num_classes=num_classes)
        except RuntimeError:  # RegNet computes its widths with tensors, which need values
            network = models.get_model(name, weights=None, num_classes=num_classes)
    if name in TRANSFORMING_NETWORKS:
        # Their weights come from another framework. torchvision sets this flag only if it loads them itself.
        setattr(network, TRANSFORMS_INPUT, True)
    return network


def _find_last_layer(network: nn.Module) -> tuple[str, int]:
    """Return the name of the layer that computes the class scores, and the number of classes."""
    if isinstance(network, models.SqueezeNet):
        return "classifier.1", 1000
    linears = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    name, last = linears[-1]
    return name, last.out_features


def _cut(network: nn.Module, layer: str) -> tuple[int, float]:
    """Replace the last layer with the identity; return the number of its inputs and the dropout probability before it.

    SqueezeNet ends with a 1 x 1 convolution followed by an average over the image. Here the average comes first, so
    that its new last layer is linear, as in the other networks.
    """
    if isinstance(network, models.SqueezeNet):
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


def _assign_state(network: nn.Module, state: State, source: str, name: str) -> None:
    """Give a network the tensors of a state dict that has exactly its keys and shapes."""
    named = OrderedDict((OLD_DENSENET_KEY.sub(r"\1\2", key), value) for key, value in state.items())
    # MNASNet reads its version from metadata that files of plain tensors lack.
    named._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        network.load_state_dict(named, strict=True, assign=True)
    except RuntimeError as error:
        details = [line.strip() for line in str(error).splitlines()[1:2]]
        raise WeightsError(
            f"{source} do not fit {name}: {' '.join(details)[:160]}; use weights of that network"
        ) from error
