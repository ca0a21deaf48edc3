"""The size of a pretrained network, and its weights, without building it with values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from triptych.images.preprocessing import Preprocessing
from triptych.networks.backbones import Backbone, build_network, outline_backbone
from triptych.networks.light_torchvision import models
from triptych.networks.precision import find_device
from triptych.transfer.bundled.card import read_card
from triptych.transfer.sources.timm_hub import has_timm_weights, is_timm
from triptych.transfer.weights import IMAGENET, IMAGENET_WEIGHTS, cached_file, default_preprocessing

# Bytes of a number in a file of weights.
FLOAT_BYTES = 4


@dataclass(frozen=True)
class KnownWeights:
    """Weights that `transfer.weights` may name.

    Attributes:
        name: their name there.
        megabytes: size of their file, 10^6 bytes; 0 if they need no download.
        at_hand: whether they are on this machine.
    """

    name: str
    megabytes: float
    at_hand: bool


@dataclass(frozen=True)
class Network:
    """A pretrained network.

    Attributes:
        outline: the network without its last layer and without values.
        parameters: number of its parameters, with those of the last layer for ImageNet's 1,000 classes.
        operations: floating-point operations per image; a multiplication and an addition count as two.
        weights: what it may be given, besides `random` and files.
    """

    outline: Backbone
    parameters: int
    operations: int
    weights: tuple[KnownWeights, ...]

    @property
    def name(self) -> str:
        """Its name."""
        return self.outline.name


def describe_network(name: str) -> Network:
    """Return the size and the weights of a network.

    Raises:
        RuntimeError: the network cannot be computed without values.
        WeightsError: timm prepares the images of this network in a way that this package does not know.
    """
    return _describe_timm(name) if is_timm(name) else _describe_torchvision(name)


def _describe_timm(name: str) -> Network:
    """Count the parameters and the operations of a network."""
    outline = outline_backbone(name, default_preprocessing(name))
    outline.trunk.to("meta")
    side = outline.preprocessing.crop_size
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        outline.trunk(torch.empty(1, 3, side, side, device="meta"))
    parameters = sum(one.numel() for one in build_network(name, empty=True).parameters())
    at_hand = has_timm_weights(name)
    weights = () if at_hand is None else (KnownWeights(IMAGENET, parameters * FLOAT_BYTES / 1e6, at_hand),)
    return Network(outline.on_device(find_device()), parameters, counter.get_total_flops(), weights)


def _describe_torchvision(name: str) -> Network:
    """Return torchvision's own figures."""
    members, preprocessing = list(models.get_model_weights(name)), default_preprocessing(name)
    # The operations of other weights are for images of another size.
    meta = next(member.meta for member in members if Preprocessing.of(member.transforms()) == preprocessing)
    bundled = [KnownWeights("bundled", 0.0, at_hand=True)] if read_card()["architecture"] == name else []
    pretrained = [
        KnownWeights(
            IMAGENET if member.name == IMAGENET_WEIGHTS else member.name,
            member.meta["_file_size"] * 2**20 / 1e6,  # torchvision counts MiB
            cached_file(member).is_file(),
        )
        for member in members
    ]
    outline = outline_backbone(name, preprocessing).on_device(find_device())
    # torchvision counts a multiplication and an addition as one.
    return Network(outline, meta["num_params"], round(2e9 * meta["_ops"]), (*bundled, *pretrained))
