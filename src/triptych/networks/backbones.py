"""Pretrained networks, frozen and without their last layers.

A backbone keeps its weights together with the preprocessing that belongs to them.
"""

from __future__ import annotations

import copy
import hashlib
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from triptych.errors import WeightsError
from triptych.images.pixels import Pixels
from triptych.images.preprocessing import Preprocessing
from triptych.networks.cuts.nodes import (
    WITHOUT_LAST_LAYER,
    Cut,
    cut_network,
    measure_embedding,
)
from triptych.networks.families.table import Source, find_architecture
from triptych.networks.light_torch import without_values
from triptych.networks.precision import EXACT, FORMATS, find_device, normalise

State = Mapping[str, Tensor]
Embeddings = NDArray[np.float32]
# Seed of random weights. All repeats use the same, so that they differ in the head alone.
RANDOM_WEIGHTS_SEED = 0
NO_SOURCE: Source = MappingProxyType({})
# The released DenseNet weights use the layer names of PyTorch 0.3: `norm.1` for `norm1`.
OLD_DENSENET_KEY = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")
# Guards PyTorch's global generator, which all threads share.
_generator_lock = threading.Lock()


@dataclass(frozen=True)
class Backbone:
    """A frozen network without its last layers.

    Attributes:
        name: name of the network.
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
        source: what else than its name describes the network.
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
    source: Source = field(default_factory=dict)

    @property
    def cuts(self) -> tuple[Backbone, ...]:
        """Each of its cuts, in the order of `launch_each`."""
        return self.parts or (self,)

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions that it needs besides PyTorch and torchvision."""
        return find_architecture(self.name, self.source).packages

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
            **({"source": dict(self.source)} if self.source else {}),
            **({"packages": self.packages} if self.packages else {}),
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
    name: str,
    weights: str,
    preprocessing: Preprocessing,
    state: State | None,
    cut: Cut = WITHOUT_LAST_LAYER,
    source: Source = NO_SOURCE,
) -> Backbone:
    """Return a frozen network without the layers above a cut, with the given weights.

    Args:
        name: name of the network.
        weights: source of the weights, as configured.
        preprocessing: turns raw images into inputs for these weights.
        state: the state dict of the whole network, which may lack what lies above the cut; None means random weights.
        cut: where the network is cut.
        source: what else than its name describes the network.

    Raises:
        ConfigError: the network cannot be cut there.
        WeightsError: the state does not fit the network, or its package is not installed.
    """
    architecture, build = find_architecture(name, source), partial(build_network, name, source=source)
    whole = build(empty=True)
    cut_layer, classes = architecture.find_last_layer(whole)
    if state is not None and f"{cut_layer}.weight" in state:
        classes = state[f"{cut_layer}.weight"].shape[0]
    if not cut.is_penultimate:
        # The shapes are checked first, as values take seconds to draw.
        tap = architecture.find_tap(whole, cut)
        empty = cut_network(whole.to("meta").eval(), [tap], name)
        dimension, head_dropout = measure_embedding(empty, preprocessing.crop_size, cut.node), 0.0
    trunk = network = build(num_classes=classes, empty=state is not None).eval()
    missing = set() if state is None else _assign_state(network, state, f"weights {weights!r}", name)
    if cut.is_penultimate:
        dimension, head_dropout = architecture.cut_last(network, cut_layer)
    else:
        trunk, cut_layer = cut_network(network, [tap], name), f"{tap.node} {tap.pooling}"
    _check_missing(missing & trunk.state_dict().keys(), f"weights {weights!r}", name)
    trunk.requires_grad_(requires_grad=False).eval()
    trunk.to(memory_format=torch.channels_last)
    return Backbone(name, weights, trunk, preprocessing, dimension, head_dropout, cut_layer, cut=cut, source=source)


def restore_backbone(description: Mapping[str, Any], state: State) -> Backbone:
    """Return the backbone that a description, from `Backbone.as_json`, and the values of its trunk are of.

    It is computed on a GPU if there is one.
    """
    preprocessing, cut = Preprocessing.from_json(description["preprocessing"]), Cut(**description.get("cut", {}))
    name, weights, source = description["backbone"], description["weights"], description.get("source", NO_SOURCE)
    backbone = assemble_backbone(name, weights, preprocessing, state, cut, source)
    return backbone.on_device(find_device()).in_format(description["number_format"])


def outline_backbone(name: str, preprocessing: Preprocessing) -> Backbone:
    """Return a network without its last layer, and without values: its parameters are on PyTorch's meta device."""
    architecture, network = find_architecture(name, NO_SOURCE), build_network(name, empty=True).eval()
    layer, _ = architecture.find_last_layer(network)
    dimension, head_dropout = architecture.cut_last(network, layer)
    return Backbone(name, "", network, preprocessing, dimension, head_dropout, layer)


def join(backbones: Sequence[Backbone]) -> Backbone | None:
    """Return a network that computes several cuts of one network in one pass, to the same bits as each of them.

    Args:
        backbones: the cuts, with the same weights, preprocessing and number format, and on the same device.

    Returns:
        The network; None if it would give other bits, because a BatchNorm can be folded at some of the cuts only, or if
        a cut needs a layer that another one removes.
    """
    first = backbones[0]
    if len(backbones) == 1:
        return first
    architecture = find_architecture(first.name, first.source)
    whole = build_network(first.name, empty=True, source=first.source).eval()
    for backbone in backbones:
        _assign_state(whole, backbone.trunk.state_dict(), f"weights {first.weights!r}", first.name)
    taps = [
        architecture.tap_last(whole) if one.cut.is_penultimate else architecture.find_tap(whole, one.cut)
        for one in backbones
    ]
    trunk = cut_network(whole, taps, first.name).requires_grad_(requires_grad=False).eval()
    if any(one.trunk.state_dict().keys() - trunk.state_dict().keys() for one in backbones):
        return None
    cut_layer = ", ".join(one.cut_layer for one in backbones)
    joint = replace(first, trunk=trunk, cut_layer=cut_layer, parts=tuple(backbones))
    return joint if all(_folds_alike(joint, one) for one in backbones) else None


def _folds_alike(joint: Backbone, single: Backbone) -> bool:
    """Return whether the layers of a cut have the same values in a joint network, if BatchNorm is folded into them."""
    if not FORMATS[single.number_format].folded:
        return True
    ours, theirs = (backbone._prepared.state_dict() for backbone in (joint, single))  # noqa: SLF001
    return all(torch.equal(ours[key], theirs[key]) for key in ours.keys() & theirs.keys())


@contextmanager
def drawing_weights() -> Iterator[None]:
    """Draw the same random weights in every block.

    Networks draw them from PyTorch's global generator. A lock admits one thread at a time, and the state of the
    generator is restored afterwards.
    """
    with _generator_lock, warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # about the slow initialisation of GoogLeNet and Inception
        torch.manual_seed(RANDOM_WEIGHTS_SEED)
        yield


def build_network(
    name: str, num_classes: int | None = None, *, empty: bool = False, source: Source = NO_SOURCE
) -> nn.Module:
    """Return a network with random weights, the same in every call.

    Args:
        name: name of the network.
        num_classes: outputs of its last layer; None means as many as its own weights have.
        empty: create the weights on PyTorch's meta device, without values: drawing them can take seconds.
        source: what else describes the network.

    Raises:
        WeightsError: its package is not installed, or has no such network.
    """
    build = partial(find_architecture(name, source).build, num_classes)
    with drawing_weights():
        with without_values() if empty else nullcontext():
            network = build()
        # No state dict has the values of other buffers.
        if empty and dict(network.named_buffers()).keys() - network.state_dict().keys():
            network = build()
    return network


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
