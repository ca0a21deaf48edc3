"""Training either of the two multilayer perceptrons: same initial weights, same batches, for the same seed."""

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
    """Return a new `NumpyMLP` or `TorchMLP`; for the same `rng` both get the same initial weights.

    Args:
        network: its class, as `triptych.networks.saved.find_class` takes it: only the one with PyTorch imports it.
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
    """Return a `NumpyMLP` or `TorchMLP`, trained from new weights.

    Args:
        network: its class, as `triptych.networks.saved.find_class` takes it: only the one with PyTorch imports it.
        settings: layers, loss and steps.
        train: features (n, inputs) and labels (n,).
        validation: the same for the part on which choices are made, or None.
        classes: number of classes.
        seed: of the initial weights, the order of the batches and the dropout.
        on_epoch: called with the metrics of each epoch.
        checkpoint: where to store and look for the state; None stores nothing.

    Raises:
        CheckpointError: the checkpoint belongs to another training.
        ConfigError: something is to be chosen on validation, but there is no validation part.
        DivergenceError: a step or the training loss is no finite number.
    """
    rng = np.random.default_rng(seed)
    built = build_mlp(network, settings, train.features.shape[1], classes, rng)
    fit_network(built, settings, train, validation, rng=rng, on_epoch=on_epoch, checkpoint=checkpoint)
    return built
