"""Build and train either multilayer perceptron: the same seed gives both the same initial weights and batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from triptych.config.trainers import MLPConfig
from triptych.networks.initialisation import initialise_layers
from triptych.networks.minibatches import Examples
from triptych.networks.saved import find_class
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import OnEpoch
from triptych.training.loop import fit_network


def build_mlp(network: str, settings: MLPConfig, inputs: int, classes: int, rng: np.random.Generator) -> Any:
    """Return a new `NumpyMLP` or `TorchMLP`; the same `rng` gives both the same initial weights.

    Args:
        network: name of the class for `find_class`; a name, so that PyTorch is imported only for `TorchMLP`.
        settings: layers and loss.
        inputs: number of features.
        classes: number of classes.
        rng: draws the weights.
    """
    layers = initialise_layers((inputs, *settings.hidden_units, classes), settings.initialisation, settings.dtype, rng)
    return find_class(network)(layers, settings.activation, settings.loss, settings.loss_reduction)


def train_mlp(
    network: str,
    settings: MLPConfig,
    train: Examples,
    validation: Examples | None = None,
    *,
    classes: int,
    seed: int,
    on_epoch: OnEpoch = lambda metrics: None,
    checkpoint: CheckpointFile | None = None,
) -> Any:
    """Train a new `NumpyMLP` or `TorchMLP`, and return it.

    Args:
        network: name of the class for `find_class`; a name, so that PyTorch is imported only for `TorchMLP`.
        settings: layers, loss and training settings.
        train: features (n, inputs) and labels (n,).
        validation: the same for the validation set, or None.
        classes: number of classes.
        seed: of the initial weights, the order of the batches and dropout.
        on_epoch: called with the metrics of each epoch.
        checkpoint: file to continue from and to save to; None saves nothing.

    Raises:
        CheckpointError: the checkpoint belongs to another training.
        ConfigError: the settings need a validation set, but there is none.
        DivergenceError: a step or the training loss is not finite.

    >>> train = Examples(np.array([[0.0], [1.0]], np.float32), np.array([0, 1]))
    >>> settings = MLPConfig(hidden_units=(4,), loss="cross_entropy", learning_rate=1.0, epochs=200)
    >>> network = train_mlp("triptych.networks.numpy_mlp:NumpyMLP", settings, train, classes=2, seed=0)
    >>> network.predict_proba(train.features).argmax(axis=1)
    array([0, 1])
    """
    rng = np.random.default_rng(seed)
    built = build_mlp(network, settings, train.features.shape[1], classes, rng)
    fit_network(built, settings, train, validation, rng=rng, on_epoch=on_epoch, checkpoint=checkpoint)
    return built
