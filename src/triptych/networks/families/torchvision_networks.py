"""torchvision's classification networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from triptych.images.preprocessing import Preprocessing
from triptych.networks.cuts.nodes import FEATURES, Cut, Tap, find_feature_map
from triptych.networks.families.table import Source
from triptych.networks.light_torchvision import models

TRANSFORMING_NETWORKS, TRANSFORMS_INPUT = ("googlenet", "inception_v3"), "transform_input"
FIRST_WEIGHTS = "IMAGENET1K_V1"


@dataclass(frozen=True)
class TorchvisionNetwork:
    """A network of torchvision; an `Architecture`.

    Attributes:
        name: torchvision's name of it.
        source: empty.
    """

    name: str
    source: Source
    packages: tuple[str, ...] = ()

    def build(self, classes: int | None = None) -> nn.Module:
        """Return the whole network."""
        network: nn.Module = models.get_model(self.name, weights=None, num_classes=1000 if classes is None else classes)
        if self.name in TRANSFORMING_NETWORKS:
            # Their weights come from another framework. torchvision sets this flag only if it loads them itself.
            setattr(network, TRANSFORMS_INPUT, True)
        return network

    def preprocess(self) -> Preprocessing:
        """Return the preprocessing of its first ImageNet weights, or of others for the images that it is built for."""
        known = models.get_model_weights(self.name)
        prepared = [known[FIRST_WEIGHTS]] if FIRST_WEIGHTS in known.__members__ else known
        return min((Preprocessing.of(member.transforms()) for member in prepared), key=lambda one: one.crop_size)

    def find_last_layer(self, network: nn.Module) -> tuple[str, int]:
        """Return the name of the layer that computes the class scores, and the number of classes."""
        if isinstance(network, models.SqueezeNet):
            return "classifier.1", 1000
        linears = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
        name, last = linears[-1]
        return name, last.out_features

    def cut_last(self, network: nn.Module, layer: str) -> tuple[int, float]:
        """Replace the last layer with the identity; return the number of its inputs and the dropout before it.

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

    def find_tap(self, network: nn.Module, cut: Cut) -> Tap:
        """Return the node that a cut means."""
        return Tap(find_feature_map(network, self.name), cut.pooling) if cut.node == FEATURES else Tap(*cut)

    def tap_last(self, network: nn.Module) -> Tap:
        """Return what enters the last layer; that of SqueezeNet is a convolution of the feature map, averaged."""
        if isinstance(network, models.SqueezeNet):
            return self.find_tap(network, Cut(FEATURES))
        return Tap(self.find_last_layer(network)[0], "", entering=True)
