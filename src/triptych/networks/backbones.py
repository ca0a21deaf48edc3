"""Pretrained torchvision networks, frozen and without their last layers.

A backbone keeps its weights together with the preprocessing that belongs to them.
"""

from __future__ import annotations

import copy
import hashlib
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
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
from triptych.networks.cuts.nodes import (
    FEATURES,
    WITHOUT_LAST_LAYER,
    Cut,
    Tap,
    cut_network,
    find_tap,
    measure_embedding,
)
from triptych.networks.light_torch import without_values
from triptych.networks.light_torchvision import models
from triptych.networks.precision import EXACT, FORMATS, find_device, normalise

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
    """A frozen network without its last layers.

    Attributes:
        name: torchvision's name of the network.
        weights: source of the weights, as configured.
        trunk: the network in eval mode, without gradients: (batch, 3, crop, crop) -> (batch, dimension).
        preprocessing: turns raw images into inputs.
        dimension: length of an embedding.
        head_dropout: probability of the dropout before the last layer, which the head applies; 0 if there is none.
        cut_layer: name of the layer that was removed; of another cut, the node and how its maps are pooled.
        number_format: how it is computed, a row of `triptych.networks.precision.FORMATS`.
        device: where it is computed, "cpu" or "cuda"; `trunk` itself stays on the CPU.
        cut: where it is cut.
        parts: the cuts of one network that `trunk` computes in one pass, from `join`; empty for a single one.
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
    cut: Cut = WITHOUT_LAST_LAYER
    parts: tuple[Backbone, ...] = ()

    @property
    def cuts(self) -> tuple[Backbone, ...]:
        """Each of its cuts, in the order of `launch_each`."""
        return self.parts or (self,)

    def describe(self) -> str:
        """Return the name of the network, and where it is cut, as text."""
        return self.name if self.cut.is_penultimate else f"{self.name} up to {self.cut.node}"

    def as_json(self) -> dict[str, Any]:
        """Return what `restore_backbone` needs besides its values."""
        return {
            "backbone": self.name,
            "weights": self.weights,
            "preprocessing": self.preprocessing.as_json(),
            "number_format": self.number_format,
            **({} if self.cut.is_penultimate else {"cut": self.cut._asdict()}),
        }

    def digest(self) -> str:
        """Return the SHA-256 of all parameters and buffers, hexadecimal."""
        digest = hashlib.sha256()
        for key, value in sorted(self.trunk.state_dict().items()):
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def in_format(self, number_format: str) -> Backbone:
        """Return the same network in another number format."""
        return self if number_format == self.number_format else self._replace(number_format=number_format)

    def on_device(self, device: str) -> Backbone:
        """Return the same network on another device."""
        return self if device == self.device else self._replace(device=device)

    def _replace(self, **fields: str) -> Backbone:
        parts = tuple(replace(part, **fields) for part in self.parts)  # type: ignore[arg-type]
        return replace(self, parts=parts, **fields)  # type: ignore[arg-type]

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
        return fetch(self.launch_each(crops)[0])

    def launch_each(self, crops: Pixels) -> tuple[Tensor, ...]:
        """Start to compute the embeddings of crops at each cut, (n, dimension) float32.

        They are returned on the device, without waiting for a GPU.
        """
        chosen = FORMATS[self.number_format]
        network = self._prepared  # before autocast begins: folding is verified in full precision
        batch = torch.from_numpy(crops)
        if self.device != "cpu":
            batch = batch.pin_memory().to(self.device, non_blocking=True)
        with chosen.computing(self.device):
            inputs = normalise(batch, self.preprocessing.mean, self.preprocessing.std)
            outputs = network(inputs.contiguous(memory_format=chosen.memory_format))
            return tuple(output.float() for output in (outputs if self.parts else (outputs,)))


def fetch(embeddings: Tensor) -> Embeddings:
    """Wait for the embeddings of `Backbone.launch_each`, and return them as an array, (n, dimension) float32."""
    fetched: Embeddings = embeddings.cpu().numpy()
    return fetched


def assemble_backbone(
    name: str, weights: str, preprocessing: Preprocessing, state: State | None, cut: Cut = WITHOUT_LAST_LAYER
) -> Backbone:
    """Return a frozen network without the layers above a cut, with the given weights.

    Args:
        name: torchvision's name of the network.
        weights: source of the weights, as configured.
        preprocessing: turns raw images into inputs for these weights.
        state: the state dict of the whole network, which may lack what lies above the cut; None means random weights.
        cut: where the network is cut.

    Raises:
        ConfigError: the network cannot be cut there.
        WeightsError: the state does not fit the network.
    """
    whole = build_network(name, empty=True)
    cut_layer, classes = _find_last_layer(whole)
    if state is not None and f"{cut_layer}.weight" in state:
        classes = state[f"{cut_layer}.weight"].shape[0]
    if not cut.is_penultimate:
        # The shapes are checked first, as values take seconds to draw.
        tap = find_tap(whole, cut, name)
        empty = cut_network(whole.to("meta").eval(), [tap], name)
        dimension, head_dropout = measure_embedding(empty, preprocessing.crop_size, cut.node), 0.0
    trunk = network = build_network(name, num_classes=classes, empty=state is not None).eval()
    missing = set() if state is None else _assign_state(network, state, f"weights {weights!r}", name)
    if cut.is_penultimate:
        dimension, head_dropout = _cut(network, cut_layer)
    else:
        trunk, cut_layer = cut_network(network, [tap], name), f"{tap.node} {tap.pooling}"
    _check_missing(missing & trunk.state_dict().keys(), f"weights {weights!r}", name)
    trunk.requires_grad_(requires_grad=False).eval()
    trunk.to(memory_format=torch.channels_last)
    return Backbone(name, weights, trunk, preprocessing, dimension, head_dropout, cut_layer, cut=cut)


def restore_backbone(description: Mapping[str, Any], state: State) -> Backbone:
    """Return the backbone that a description, from `Backbone.as_json`, and the values of its trunk are of.

    It is computed on a GPU if there is one.
    """
    preprocessing, cut = Preprocessing.from_json(description["preprocessing"]), Cut(**description.get("cut", {}))
    backbone = assemble_backbone(description["backbone"], description["weights"], preprocessing, state, cut)
    return backbone.on_device(find_device()).in_format(description["number_format"])


def outline_backbone(name: str, preprocessing: Preprocessing) -> Backbone:
    """Return a network without its last layer, and without values: its parameters are on PyTorch's meta device."""
    network = build_network(name, empty=True).eval()
    layer, _ = _find_last_layer(network)
    dimension, head_dropout = _cut(network, layer)
    return Backbone(name, "", network, preprocessing, dimension, head_dropout, layer)


def join(backbones: Sequence[Backbone]) -> Backbone | None:
    """Return a network that computes several cuts of one network in one pass, to the same bits as each of them.

    Args:
        backbones: the cuts, with the same weights, preprocessing and number format, and on the same device.

    Returns:
        The network; None if it would give other bits, because a BatchNorm can be folded at some of the cuts only.
    """
    first = backbones[0]
    if len(backbones) == 1:
        return first
    whole = build_network(first.name, empty=True).eval()
    for backbone in backbones:
        _assign_state(whole, backbone.trunk.state_dict(), f"weights {first.weights!r}", first.name)
    taps = [_tap_last(whole) if one.cut.is_penultimate else find_tap(whole, one.cut, first.name) for one in backbones]
    trunk = cut_network(whole, taps, first.name).requires_grad_(requires_grad=False).eval()
    cut_layer = ", ".join(one.cut_layer for one in backbones)
    joint = replace(first, trunk=trunk, cut_layer=cut_layer, parts=tuple(backbones))
    return joint if all(_folds_alike(joint, one) for one in backbones) else None


def _tap_last(network: nn.Module) -> Tap:
    """Return what enters the last layer; that of SqueezeNet is a convolution of the feature map, averaged."""
    if isinstance(network, models.SqueezeNet):
        return find_tap(network, Cut(FEATURES), "")
    return Tap(_find_last_layer(network)[0], "", entering=True)


def _folds_alike(joint: Backbone, single: Backbone) -> bool:
    """Return whether the layers of a cut have the same values in a joint network, if BatchNorm is folded into them."""
    if not FORMATS[single.number_format].folded:
        return True
    ours, theirs = (backbone._prepared.state_dict() for backbone in (joint, single))  # noqa: SLF001
    return all(torch.equal(ours[key], theirs[key]) for key in ours.keys() & theirs.keys())


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
        with without_values() if empty else nullcontext():
            network: nn.Module = models.get_model(name, weights=None, num_classes=num_classes)
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


def _assign_state(network: nn.Module, state: State, source: str, name: str) -> set[str]:
    """Give a network the tensors of a state dict, and return the keys that it lacks.

    Raises:
        WeightsError: the network has no such key, or another shape.
    """
    named = OrderedDict((OLD_DENSENET_KEY.sub(r"\1\2", key), value) for key, value in state.items())
    own = network.state_dict()
    if unknown := sorted(named.keys() - own.keys()):
        raise _refuse(source, name, f"it has no {_name_some(unknown)}")
    # MNASNet reads its version from metadata that files of plain tensors lack.
    named._metadata = own._metadata  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        missing, _ = network.load_state_dict(named, strict=False, assign=True)
    except RuntimeError as error:
        details = [line.strip() for line in str(error).splitlines()[1:2]]
        raise _refuse(source, name, " ".join(details)[:160]) from error
    return set(missing)


def _check_missing(missing: Collection[str], source: str, name: str) -> None:
    """Check that a state dict has all that lies below the cut.

    Raises:
        WeightsError: it lacks something.
    """
    if missing:
        raise _refuse(source, name, f"they lack {_name_some(sorted(missing))}", ", or set a lower transfer.cut")


def _refuse(source: str, name: str, reason: str, remedy: str = "") -> WeightsError:
    return WeightsError(f"{source} do not fit {name}: {reason}; use weights of that network{remedy}")


def _name_some(keys: Sequence[str]) -> str:
    """Return the first of some keys, and how many others there are.

    >>> _name_some(["a.weight", "a.bias", "b.weight"])
    'a.weight and 2 others'
    """
    others = len(keys) - 1
    return keys[0] + (f" and {others} other{'s' if others > 1 else ''}" if others else "")
