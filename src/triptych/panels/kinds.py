"""The kinds of panels, one row each: everything in which the kinds differ.

A row refers to classes and functions as "module:name", so that only the kinds in use import their libraries.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Literal, cast

from triptych.config.names import COMBINED_MARK
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
from triptych.system.threads import count_cores, count_threads, limit_blas_threads, release_torch_threads

PIXELS = ("numpy", "pillow")
# The module that embeds the images of a board.
EMBEDDING = "triptych.transfer.plan"
# The function that predicts a part of a board, by the input of the panel.
PREDICTORS = {
    "raw": "triptych.panels.prediction:predict_raw",
    "thumbnails": "triptych.panels.prediction:predict_thumbnails",
    "embeddings": "triptych.panels.transfer:predict_embeddings",
}


@dataclass(frozen=True)
class Kind:
    """A kind of panel; what is left out is that of a classifier of pixels.

    Attributes:
        section: name of its section in a board's configuration.
        network: the class of its classifier or network, which is saved and loaded.
        trainer: the class that trains it, a `triptych.panels.fitting.Trainer`.
        input: what it predicts a part of a board from: raw images, thumbnails of one size, or stored embeddings.
        requirements: the packages that a saved model needs, besides MLflow.
        onnx: the function that exports it to ONNX; None if there is none.
        space: returns the search space, given the settings.
        draws: returns whether its training draws random numbers, given the settings; if not, all repeats are equal.
        surroundings: returns what else the bits of its result depend on, given the settings.
    """

    section: str
    network: str
    trainer: str = "triptych.panels.classifiers:ClassifierTrainer"
    input: Literal["raw", "thumbnails", "embeddings"] = "thumbnails"
    requirements: tuple[str, ...] = PIXELS
    onnx: str | None = None
    space: Callable[[Any], Space] = lambda settings: NOTHING_TO_TUNE
    draws: Callable[[Any], bool] = lambda settings: False
    surroundings: Callable[[Any], Mapping[str, Any]] = lambda settings: {}

    def find_trainer(self) -> Any:
        """Return the class that trains this kind, a `triptych.panels.fitting.Trainer`."""
        return pkgutil.resolve_name(self.trainer)

    def find_predictor(self) -> Any:
        """Return the function that predicts a part of a board.

        Its arguments are the network, the `BoardData`, the `EmbeddingRecord` or None, and the images, (n,) int64; it
        returns probabilities, (n, classes). The last bits of matrix products depend on the number of threads: NumPy's
        use one here, as trainings in other threads may limit them, and PyTorch's as many as there are cores, whatever
        the training before has set.
        """
        predict = pkgutil.resolve_name(PREDICTORS[self.input])

        def predict_alike(*arguments: Any) -> Any:
            release_torch_threads()
            with limit_blas_threads(1):
                return predict(*arguments)

        return predict_alike

    def find_exporter(self) -> Callable[[Any, Any], Any]:
        """Return the function that exports this kind to ONNX.

        Raises:
            ConfigError: there is no such function.
        """
        if self.onnx is None:
            raise ConfigError("a panel of this kind cannot be exported to ONNX: fetch it with --format mlflow")
        return cast("Callable[[Any, Any], Any]", pkgutil.resolve_name(self.onnx))


def import_embedding() -> ModuleType:
    """Import and return `triptych.transfer.plan`: PyTorch is imported only if a board has a backbone."""
    return import_module(EMBEDDING)


def describe_embedding_threads(settings: TransferConfig) -> dict[str, int]:
    """Return the number of threads that embeddings are computed with, which changes the last bits of sums."""
    return {"threads": settings.embedding_threads or count_threads()}


def describe_training_threads(settings: TransferConfig) -> dict[str, int]:
    """Return the number of threads that fine-tuning computes with, which changes the last bits of sums."""
    return {"threads": settings.embedding_threads or count_cores()}


def choose_head_space(settings: TransferConfig) -> Space:
    """Return the search space of a head, which depends on the method that trains it."""
    return SOLVED_HEAD_SPACE if settings.head == "lbfgs" else HEAD_SPACE


KINDS = {
    "numpy_mlp": Kind(
        section="numpy_mlp",
        trainer="triptych.panels.mlp:MLPTrainer",
        network="triptych.networks.numpy_mlp:NumpyMLP",
        onnx="triptych.panels.onnx_modules:export_mlp",
        space=lambda settings: MLP_SPACE,
        draws=lambda settings: True,
    ),
    "torch_mlp": Kind(
        section="torch_mlp",
        trainer="triptych.panels.mlp:MLPTrainer",
        network="triptych.networks.torch_mlp:TorchMLP",
        requirements=(*PIXELS, "torch"),
        onnx="triptych.panels.onnx_modules:export_mlp",
        space=lambda settings: MLP_SPACE,
        draws=lambda settings: True,
    ),
    "transfer": Kind(
        section="transfer",
        trainer="triptych.panels.transfer:HeadTrainer",
        network="triptych.networks.head:TransferNetwork",
        input="embeddings",
        requirements=(*PIXELS, "torch", "torchvision", "safetensors"),
        onnx="triptych.panels.onnx_modules:export_transfer",
        space=choose_head_space,
        draws=lambda settings: settings.head == "sgd",
        surroundings=describe_embedding_threads,
    ),
    "combined": Kind(
        section="transfer",
        trainer="triptych.panels.transfer:HeadTrainer",
        network="triptych.networks.combined.network:CombinedNetwork",
        input="embeddings",
        requirements=(*PIXELS, "torch", "torchvision", "safetensors"),
        space=choose_head_space,
        draws=lambda settings: settings.head == "sgd",
        surroundings=describe_embedding_threads,
    ),
    "fine_tuned": Kind(
        section="transfer",
        trainer="triptych.panels.fine_tuned:FineTuner",
        network="triptych.networks.head:TransferNetwork",
        input="raw",
        requirements=(*PIXELS, "torch", "torchvision", "safetensors"),
        onnx="triptych.panels.onnx_modules:export_transfer",
        space=choose_head_space,
        draws=lambda settings: True,
        surroundings=describe_training_threads,
    ),
    "most_frequent": Kind(
        section="most_frequent",
        network="triptych.networks.classifiers.most_frequent:MostFrequent",
        onnx="triptych.panels.onnx_modules:export_most_frequent",
    ),
    "logistic_regression": Kind(
        section="logistic_regression",
        network="triptych.networks.classifiers.logistic_regression:LogisticRegression",
        onnx="triptych.panels.onnx_modules:export_logistic_regression",
        space=lambda settings: LOGISTIC_REGRESSION_SPACE,
    ),
    "nearest_neighbours": Kind(
        section="nearest_neighbours",
        network="triptych.networks.classifiers.nearest_neighbours:NearestNeighbours",
        requirements=(*PIXELS, "scikit-learn"),
        onnx="triptych.panels.onnx_modules:export_nearest_neighbours",
        space=lambda settings: NEAREST_NEIGHBOURS_SPACE,
    ),
}


def name_kind(config: BoardConfig, panel: str) -> str:
    """Return the name of a panel's row in `KINDS`; fine-tuned and combined networks have rows of their own.

    >>> [name_kind(BoardConfig(), panel) for panel in ("numpy-mlp", "resnet50", "resnet50+vgg16")]
    ['numpy_mlp', 'transfer', 'combined']
    """
    settings: PanelConfig = config.settings_of(panel)
    if COMBINED_MARK in panel:
        return "combined"
    return "fine_tuned" if settings.fine_tunes else kind_of_panel(panel)


def find_kind(config: BoardConfig, panel: str) -> Kind:
    """Return the row of a panel in `KINDS`.

    >>> find_kind(BoardConfig(), "torch-mlp").input
    'thumbnails'
    """
    return KINDS[name_kind(config, panel)]
