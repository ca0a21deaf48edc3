"""A small network of each kind of panel, not trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from triptych.config.trainers import PanelSections
from triptych.networks.classifiers.contract import PixelClassifier
from triptych.networks.initialisation import initialise_layers
from triptych.networks.numpy_mlp import NumpyMLP
from triptych.networks.saved import Network, PixelNetwork, find_class
from triptych.panels.kinds import KINDS, Kind

CLASSES = ("ant", "bee", "wasp")
SHAPE = (8, 8, 3)


def build_numpy(rng: np.random.Generator, loss: str = "squared_error") -> PixelNetwork:
    return PixelNetwork(NumpyMLP(initialise_layers((192, 6, 3), "normal", "float32", rng), loss=loss), SHAPE)


def build_torch(rng: np.random.Generator, loss: str = "squared_error") -> PixelNetwork:
    from triptych.networks.torch_mlp import TorchMLP

    return PixelNetwork(TorchMLP(initialise_layers((192, 6, 3), "normal", "float32", rng), loss=loss), SHAPE)


def build_transfer(rng: np.random.Generator) -> Network:
    from triptych.networks.head import Head, TransferNetwork
    from triptych.networks.light_torch import build_linear
    from triptych.transfer.weights import load_backbone

    backbone = load_backbone("shufflenet_v2_x0_5", "random")
    return TransferNetwork(backbone, Head(build_linear(backbone.dimension, 3, rng), dropout=0.5))


def build_combined(rng: np.random.Generator) -> Network:
    from triptych.networks.combined.network import CombinedNetwork
    from triptych.networks.cuts.nodes import Cut
    from triptych.networks.head import Head
    from triptych.networks.light_torch import build_linear
    from triptych.transfer.weights import load_backbone

    cuts = (Cut(), Cut("stage2", "max"))
    backbones = tuple(load_backbone("shufflenet_v2_x0_5", "bundled", cut) for cut in cuts)
    return CombinedNetwork(backbones, Head(build_linear(1024 + 48, 3, rng)))


def build_classifier(kind: Kind) -> PixelNetwork:
    rng = np.random.default_rng(0)
    rows, labels = rng.uniform(-1.0, 1.0, size=(30, 192)).astype(np.float32), np.arange(30) % 3
    classifier: type[PixelClassifier] = find_class(kind.network)
    return PixelNetwork(classifier.fit(rows, labels, 3, PanelSections.model_fields[kind.section].default), SHAPE)


BUILDERS: dict[str, Callable[[np.random.Generator], Network]] = {
    "numpy_mlp": build_numpy,
    "torch_mlp": build_torch,
    "transfer": build_transfer,
    "combined": build_combined,
    **{
        name: lambda rng, kind=kind: build_classifier(kind)  # type: ignore[misc]  # nothing is drawn
        for name, kind in KINDS.items()
        if ".classifiers." in kind.network
    },
}
