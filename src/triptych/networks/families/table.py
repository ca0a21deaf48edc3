"""The families of networks, one row each, and what each of them knows of its networks.

A network without weights is described by its name, and by a `Source` where the name is not enough. A package is
imported when a network of it is used.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Protocol

from torch import nn

from triptych.errors import WeightsError
from triptych.images.preprocessing import Preprocessing
from triptych.networks.cuts.nodes import Cut, Tap

# What else than its name describes a network, as JSON values; empty for most.
Source = Mapping[str, Any]
# The class of each family, by what the names of its networks begin with. Names without a colon are torchvision's.
FAMILIES = {
    "": "triptych.networks.families.torchvision_networks:TorchvisionNetwork",
    "timm": "triptych.networks.families.timm_networks:TimmNetwork",
    "hf": "triptych.networks.families.hugging_face:TransformersNetwork",
}
# A Hugging Face folder may hold a network of timm.
TIMM_KEY = "architecture"


class Architecture(Protocol):
    """A network without weights."""

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions that it needs besides PyTorch and torchvision."""

    def build(self, classes: int | None = None) -> nn.Module:
        """Return the whole network with weights drawn from PyTorch's generator, or without values in `without_values`.

        Args:
            classes: outputs of its last layer; None means as many as its own weights have.

        Raises:
            WeightsError: the package is not installed, or has no such network.
        """

    def preprocess(self) -> Preprocessing:
        """Return the preprocessing of its own weights.

        Raises:
            WeightsError: its images are prepared in a way that this package does not know.
        """

    def find_last_layer(self, network: nn.Module) -> tuple[str, int]:
        """Return the name of the layer that computes the class scores, and the number of classes."""

    def cut_last(self, network: nn.Module, layer: str) -> tuple[int, float]:
        """Remove the last layer; return the number of its inputs and the dropout probability before it."""

    def find_tap(self, network: nn.Module, cut: Cut) -> Tap:
        """Return the node that a cut of a whole network means, which is not the penultimate one.

        Raises:
            ConfigError: the network has no feature map.
        """

    def tap_last(self, network: nn.Module) -> Tap:
        """Return the node of what enters the last layer, which may be removed from the network."""


def find_architecture(name: str, source: Source) -> Architecture:
    """Return the architecture of a network.

    >>> find_architecture("resnet18", {}).packages, find_architecture("timm:resnet18", {}).packages
    ((), ('timm',))
    """
    family, mark, own = name.rpartition(":")
    architecture: Architecture
    if family == "hf" and TIMM_KEY in source.get("config", {}):
        architecture = pkgutil.resolve_name(FAMILIES["timm"])(name, source["config"])
    elif family == "hf":
        architecture = pkgutil.resolve_name(FAMILIES["hf"])(name, source)
    else:
        architecture = pkgutil.resolve_name(FAMILIES[family])(own if not mark else name, {})
    return architecture


def find_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of distributions, by their names."""
    return {package: version(package) for package in packages}


def describe_missing(name: str, package: str, extra: str) -> WeightsError:
    """Return the error that a package is not installed, which a network needs."""
    return WeightsError(f"{name} needs the package {package}: install it with `pip install 'triptych[{extra}]'`")
