"""The size of a pretrained network, and its weights, without building it with values."""

from __future__ import annotations

from dataclasses import dataclass

from triptych.networks.backbones import Backbone, outline_backbone
from triptych.networks.light_torchvision import models
from triptych.networks.precision import find_device
from triptych.transfer.bundled.card import read_card
from triptych.transfer.weights import IMAGENET, IMAGENET_WEIGHTS, cached_file, default_preprocessing


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
    """Return the size and the weights of a network, with torchvision's own figures."""
    members = list(models.get_model_weights(name))
    meta = next(iter(members)).meta
    bundled = [KnownWeights("bundled", 0.0, at_hand=True)] if read_card()["architecture"] == name else []
    pretrained = [
        KnownWeights(
            IMAGENET if member.name == IMAGENET_WEIGHTS else member.name,
            member.meta["_file_size"] * 2**20 / 1e6,  # torchvision counts MiB
            cached_file(member).is_file(),
        )
        for member in members
    ]
    outline = outline_backbone(name, default_preprocessing(name)).on_device(find_device())
    # torchvision counts a multiplication and an addition as one.
    return Network(outline, meta["num_params"], round(2e9 * meta["_ops"]), (*bundled, *pretrained))
