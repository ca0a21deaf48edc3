"""Small multilayer perceptrons and the examples that they are trained on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from triptych.config.trainers import MLPConfig
from triptych.networks.initialisation import initialise_layers
from triptych.networks.minibatches import Examples
from triptych.networks.numpy_functions import ACTIVATIONS
from triptych.panels.kinds import KINDS
from triptych.training.epochs import EpochMetrics

MLPS = NUMPY_MLP, TORCH_MLP = KINDS["numpy_mlp"].network, KINDS["torch_mlp"].network
# Loss, and how its gradient is reduced over the outputs.
GRADIENTS = (("squared_error", "sum"), ("squared_error", "mean"), ("cross_entropy", "sum"))
# Activation, loss, reduction, hidden units: each activation with each gradient, and each depth.
EVERY_NETWORK = [
    *((activation, *gradient, (5, 4)) for activation, gradient in itertools.product(ACTIVATIONS, GRADIENTS)),
    *(("tanh", "cross_entropy", "mean", hidden) for hidden in ((), (5,), (4, 5, 3))),
]
# Weights for the seven examples of `draw_batch`, with mean 1.
WEIGHTS = np.array([0.0, 0.2, 0.5, 1.0, 1.0, 1.3, 3.0])
# Everything that a checkpoint has to bring back: momentum, what is drawn, the schedule and the best epoch.
DEMANDING = MLPConfig(
    hidden_units=(8, 5),
    activation="relu",
    loss="cross_entropy",
    momentum=0.9,
    weight_decay=1e-3,
    dropout=0.2,
    input_dropout=0.1,
    schedule="cosine",
    batch_size=13,
    epochs=8,
    keep_best_epoch=True,
)


def draw_layers(hidden: tuple[int, ...], seed: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return float64 weights and biases from 6 inputs to 3 classes."""
    return initialise_layers((6, *hidden, 3), "uniform_fan_in", "float64", np.random.default_rng(seed))


def draw_batch(rows: int = 7, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return features (rows, 6) float64 and labels (rows,) of 3 classes."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 6)), rng.integers(0, 3, size=rows)


def one_hot(labels: np.ndarray) -> np.ndarray:
    """Return labels of 3 classes as rows of zeros and a one."""
    encoded: np.ndarray = np.eye(3)[labels]
    return encoded


def draw_examples(rows: int = 120, seed: int = 0, dtype: str = "float32") -> Examples:
    """Return three overlapping classes, with features (rows, 6)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, size=rows)
    features = np.eye(6)[labels] + rng.normal(size=(rows, 6)) * 0.7
    return Examples(features.astype(dtype), labels)


def draw_weighted(rows: int = 120, seed: int = 0, dtype: str = "float32") -> Examples:
    """Return the same examples with random weights, whose mean is 1."""
    weights = np.random.default_rng(seed + 1).uniform(0.0, 2.0, size=rows)
    return replace(draw_examples(rows, seed, dtype), weights=weights / weights.mean())


def flatten(network: Any) -> np.ndarray:
    """Return all weights and biases in one row."""
    return np.concatenate([array.ravel() for layer in network.layers for array in layer])


class StoppedError(Exception):
    """Stands for whatever ends a training early."""


def stop_after(epoch: int) -> Callable[[EpochMetrics], None]:
    """Return a callback that ends a training after an epoch."""

    def on_epoch(metrics: EpochMetrics) -> None:
        if metrics.epoch == epoch:
            raise StoppedError

    return on_epoch
