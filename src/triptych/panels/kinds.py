"""The kinds of panels, a row each: everything that tells one kind from another is looked up here.

A row names classes and functions as "module:name", so that only the kinds that take part import their libraries.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Literal, cast

from triptych.config.schema import BoardConfig
from triptych.config.trainers import PanelConfig, TransferConfig, kind_of_panel
from triptych.errors import ConfigError
from triptych.panels.spaces import (
    HEAD_SPACE,
    LOGISTIC_REGRESSION_SPACE,
    MLP_SPACE,
    NEAREST_NEIGHBOURS_SPACE,
    NOTHING_TO_TUNE,
    SOLVED_HEAD_SPACE,
    Space,
)
from triptych.system.threads import count_threads

PIXELS = ("numpy", "pillow")
# What predicts a part of a board, by what a panel sees: raw images, pixels of one size, or stored embeddings.
PREDICTORS = {
    "raw": "triptych.panels.prediction:predict_raw",
    "thumbnails": "triptych.panels.prediction:predict_thumbnails",
    "embeddings": "triptych.panels.transfer:predict_embeddings",
}


@dataclass(frozen=True)
class Kind:
    """A kind of panel.

    Attributes:
        section: its section of a board's configuration.
        trainer: the class that trains it, a `triptych.panels.fitting.Trainer`.
        network: the class of its classifier or network, which is saved and loaded.
        input: what it predicts parts of a board from, a row of `PREDICTORS`.
        requirements: the packages that a saved one needs, beside MLflow.
        onnx: the function of `triptych.panels.onnx_modules` that exports it; None where there is no exporter.
        space: the search space for its settings.
        surroundings: what else its bits depend on, for its settings.
    """

    section: str
    trainer: str
    network: str
    input: Literal["raw", "thumbnails", "embeddings"]
    requirements: tuple[str, ...]
    onnx: str | None
    space: Callable[[Any], Space]
    surroundings: Callable[[Any], Mapping[str, Any]] = lambda settings: {}

    def find_trainer(self) -> Any:
        """Return the class that trains it."""
        return pkgutil.resolve_name(self.trainer)

    def find_predictor(self) -> Any:
        """Return the function that predicts a part of a board: of the network, the board, its embeddings, the part."""
        return pkgutil.resolve_name(PREDICTORS[self.input])

    def find_exporter(self) -> Callable[[Any, Any], Any]:
        """Return the function that exports it to ONNX.

        Raises:
            ConfigError: there is none.
        """
        if self.onnx is None:
            raise ConfigError(f"{self.section} has no exporter to ONNX: fetch it with --format mlflow")
        return cast("Callable[[Any, Any], Any]", pkgutil.resolve_name(self.onnx))


def import_embedding() -> ModuleType:
    """Return `triptych.transfer.plan`, which imports PyTorch: a board without a backbone has no need of it."""
    return import_module("triptych.transfer.plan")


def describe_threads(settings: TransferConfig) -> dict[str, int]:
    """Return the threads that a pretrained network is computed with: their number changes the last bits of sums."""
    return {"embedding_threads": settings.embedding_threads or count_threads()}


def choose_head_space(settings: TransferConfig) -> Space:
    """Return the search space of a last layer, which depends on how it is trained."""
    return SOLVED_HEAD_SPACE if settings.head == "lbfgs" else HEAD_SPACE


KINDS = {
    "numpy_mlp": Kind(
        section="numpy_mlp",
        trainer="triptych.panels.mlp:MLPTrainer",
        network="triptych.networks.numpy_mlp:NumpyMLP",
        input="thumbnails",
        requirements=PIXELS,
        onnx="triptych.panels.onnx_modules:export_mlp",
        space=lambda settings: MLP_SPACE,
    ),
    "torch_mlp": Kind(
        section="torch_mlp",
        trainer="triptych.panels.mlp:MLPTrainer",
        network="triptych.networks.torch_mlp:TorchMLP",
        input="thumbnails",
        requirements=(*PIXELS, "torch"),
        onnx="triptych.panels.onnx_modules:export_mlp",
        space=lambda settings: MLP_SPACE,
    ),
    "transfer": Kind(
        section="transfer",
        trainer="triptych.panels.transfer:HeadTrainer",
        network="triptych.networks.head:TransferNetwork",
        input="embeddings",
        requirements=(*PIXELS, "torch", "torchvision", "safetensors"),
        onnx="triptych.panels.onnx_modules:export_transfer",
        space=choose_head_space,
        surroundings=describe_threads,
    ),
    "fine_tuned": Kind(
        section="transfer",
        trainer="triptych.panels.fine_tuned:FineTuner",
        network="triptych.networks.head:TransferNetwork",
        input="raw",
        requirements=(*PIXELS, "torch", "torchvision", "safetensors"),
        onnx="triptych.panels.onnx_modules:export_transfer",
        space=choose_head_space,
        surroundings=describe_threads,
    ),
    "most_frequent": Kind(
        section="most_frequent",
        trainer="triptych.panels.classifiers:ClassifierTrainer",
        network="triptych.networks.classifiers.most_frequent:MostFrequent",
        input="thumbnails",
        requirements=PIXELS,
        onnx="triptych.panels.onnx_modules:export_most_frequent",
        space=lambda settings: NOTHING_TO_TUNE,
    ),
    "logistic_regression": Kind(
        section="logistic_regression",
        trainer="triptych.panels.classifiers:ClassifierTrainer",
        network="triptych.networks.classifiers.logistic_regression:LogisticRegression",
        input="thumbnails",
        requirements=PIXELS,
        onnx="triptych.panels.onnx_modules:export_logistic_regression",
        space=lambda settings: LOGISTIC_REGRESSION_SPACE,
    ),
    "nearest_neighbours": Kind(
        section="nearest_neighbours",
        trainer="triptych.panels.classifiers:ClassifierTrainer",
        network="triptych.networks.classifiers.nearest_neighbours:NearestNeighbours",
        input="thumbnails",
        requirements=(*PIXELS, "scikit-learn"),
        onnx="triptych.panels.onnx_modules:export_nearest_neighbours",
        space=lambda settings: NEAREST_NEIGHBOURS_SPACE,
    ),
}


def name_kind(config: BoardConfig, panel: str) -> str:
    """Return which row of `KINDS` a panel is: a pretrained network that is trained itself has one of its own.

    >>> name_kind(BoardConfig(), "numpy-mlp"), name_kind(BoardConfig(), "resnet50")
    ('numpy_mlp', 'transfer')
    """
    settings: PanelConfig = config.settings_of(panel)
    return "fine_tuned" if settings.fine_tunes else kind_of_panel(panel)


def find_kind(config: BoardConfig, panel: str) -> Kind:
    """Return the row of a panel, as its board is configured."""
    return KINDS[name_kind(config, panel)]
