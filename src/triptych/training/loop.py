"""The training loop of every network: epochs, learning rate schedules, the choice of the epoch, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from triptych.errors import ConfigError, DivergenceError, NonFiniteStepError
from triptych.networks.minibatches import Examples, Measured
from triptych.training.checkpoints import Checkpoint, CheckpointFile
from triptych.training.epochs import EpochMetrics, OnEpoch

if TYPE_CHECKING:
    from triptych.config.trainers import TrainingConfig

# Factor of the learning rate, by the fraction of the epochs that are done.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),  # Loshchilov and Hutter 2017, without restarts
}
# Higher is better.
SCORES: dict[str, Callable[[EpochMetrics], float]] = {
    "val_loss": lambda metrics: -_require(metrics.val_loss),
    "val_accuracy": lambda metrics: _require(metrics.val_accuracy),
}


class Trainable(Protocol):
    """A network together with the state of its optimizer."""

    def train_epoch(self, train: Any, settings: Any, learning_rate: float, rng: np.random.Generator) -> None:
        """Take the steps of one epoch; all randomness comes from `rng`."""

    def measure(self, examples: Any) -> Measured:
        """Return the loss, the accuracy and the log loss on some examples."""

    def copy_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the weights and of the optimizer's state, by name."""

    def restore_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore a state from `copy_state`."""


def fit_network(
    network: Trainable,
    settings: TrainingConfig,
    train: Examples,
    validation: Examples | None,
    *,
    rng: np.random.Generator,
    on_epoch: OnEpoch,
    checkpoint: CheckpointFile | None = None,
) -> None:
    """Train a network for several epochs; measure and report each, and save checkpoints.

    If there is a checkpoint, training continues from it: `on_epoch` is called again for its epochs, and the weights
    end bit for bit as if the training had never been interrupted.

    Args:
        network: changed in place; it ends with the weights of the chosen epoch.
        settings: epochs, learning rate, and what is chosen on the validation set.
        train: the training set.
        validation: the validation set, or None.
        rng: draws the order of the examples and dropout; its state is part of the checkpoint.
        on_epoch: called with the metrics of each epoch.
        checkpoint: file to continue from and to save to; None saves nothing.

    Raises:
        CheckpointError: the checkpoint belongs to another training.
        ConfigError: the settings need a validation set, but there is none.
        DivergenceError: a step or the training loss is not finite.
    """
    if settings.chooses and validation is None:
        raise ConfigError(
            "patience and keep_best_epoch need a validation set, but it is empty: set a validation fraction, or turn "
            "both off"
        )
    curve: list[EpochMetrics] = []
    best: dict[str, NDArray[Any]] = {}
    if checkpoint and (found := checkpoint.load()):
        curve, best = list(found.curve), found.best
        network.restore_state(found.network)
        rng.bit_generator.state = dict(found.rng)
        for metrics in curve:
            on_epoch(metrics)
    while not is_over(curve, settings):
        metrics = train_and_measure_epoch(network, settings, train, validation, len(curve) + 1, rng)
        curve.append(metrics)
        if settings.keep_best_epoch and choose_epoch(curve, settings) == metrics.epoch:
            best = network.copy_state()
        if over := is_over(curve, settings):
            curve[-1] = replace(metrics, epochs=metrics.epoch)
        if checkpoint and (over or checkpoint.is_due(metrics.epoch)):
            checkpoint.save(Checkpoint(tuple(curve), rng.bit_generator.state, network.copy_state(), best))
        on_epoch(curve[-1])
    if best:
        network.restore_state(best)


def train_and_measure_epoch(
    network: Trainable,
    settings: TrainingConfig,
    train: Examples,
    validation: Examples | None,
    epoch: int,
    rng: np.random.Generator,
) -> EpochMetrics:
    """Train for one epoch; return the metrics of the weights after it.

    Args:
        network: changed in place.
        settings: epochs and learning rate.
        train: the training set.
        validation: the validation set, or None.
        epoch: number of the epoch, from 1.
        rng: draws the order of the examples and dropout.

    Raises:
        DivergenceError: a step or the training loss is not finite.
    """
    learning_rate = settings.learning_rate * SCHEDULES[settings.schedule]((epoch - 1) / settings.epochs)
    where = f"epoch {epoch} of {settings.epochs}"
    remedy = f"the learning rate {learning_rate:g} is too large"
    started = time.perf_counter()
    try:
        # An overflow is reported once, by the error below.
        with np.errstate(over="ignore", invalid="ignore"):
            network.train_epoch(train, settings, learning_rate, rng)
            seconds = time.perf_counter() - started
            train_loss, train_accuracy, _ = network.measure(train)
    except NonFiniteStepError as error:
        raise DivergenceError(f"the gradient is not finite in step {error.step} of {where}: {remedy}") from error
    if not math.isfinite(train_loss):
        raise DivergenceError(f"the training loss is {train_loss} after the last step of {where}: {remedy}")
    on_validation = network.measure(validation) if validation is not None else ()
    return EpochMetrics(epoch, settings.epochs, train_loss, train_accuracy, seconds, *on_validation)


def choose_epoch(curve: Sequence[EpochMetrics], settings: TrainingConfig) -> int:
    """Return the epoch whose weights are kept: with `keep_best_epoch` the best on the validation set, else the last."""
    if not settings.keep_best_epoch:
        return curve[-1].epoch
    return find_best_epoch(curve, settings.monitor)


def find_best_epoch(curve: Sequence[EpochMetrics], monitor: str) -> int:
    """Return the best epoch on the validation set; of equally good ones, the first.

    Args:
        curve: the metrics of every epoch.
        monitor: "val_loss" or "val_accuracy".

    >>> losses = enumerate((0.7, 0.5, 0.6), start=1)
    >>> find_best_epoch([EpochMetrics(epoch, 3, 0.4, 0.9, 1.0, loss, 0.8) for epoch, loss in losses], "val_loss")
    2
    """
    return max(curve, key=SCORES[monitor]).epoch


def is_over(curve: Sequence[EpochMetrics], settings: TrainingConfig) -> bool:
    """Return whether all epochs are done, or the last `patience` epochs brought no improvement."""
    if not curve or len(curve) >= settings.epochs:
        return bool(curve)
    if not settings.patience:
        return False
    return len(curve) - find_best_epoch(curve, settings.monitor) >= settings.patience


def _require(value: float | None) -> float:
    """Return a metric of the validation set, which must exist to choose an epoch."""
    if value is None:
        raise ConfigError("the epoch is chosen on the validation set, but it is empty: set patience=0")
    return value
