"""What every trainer has in common: examples in, the same batches for the same seed, metrics out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DivergenceError

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Labelled inputs of a network.

    Attributes:
        features: (n, inputs) float.
        labels: (n,) int64, 0..classes-1.
    """

    features: Floats
    labels: Indices

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class EpochMetrics:
    """What a trainer reports after each epoch.

    Attributes:
        epoch: from 1.
        epochs: how many there will be.
        train_loss: loss over the whole training part after the epoch; squared error is averaged over the
            outputs too, whatever the gradient does, so that curves can be laid over each other.
        train_accuracy: fraction of the training part classified rightly.
        epoch_seconds: seconds of the epoch's updates alone, without measuring and reporting.
        val_loss: the same loss over the validation part; None where that part is empty.
        val_accuracy: fraction of the validation part classified rightly; None where that part is empty.
    """

    epoch: int
    epochs: int
    train_loss: float
    train_accuracy: float
    epoch_seconds: float
    val_loss: float | None = None
    val_accuracy: float | None = None

    def values(self) -> dict[str, float]:
        """Return the metrics by name, without those that do not exist."""
        names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "epoch_seconds")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


OnEpoch = Callable[[EpochMetrics], None]
Measure = Callable[[Examples], tuple[float, float]]


def shuffle_minibatches(length: int, batch_size: int, rng: np.random.Generator) -> Iterator[Indices]:
    """Yield the indices of each batch of one epoch, in a new random order; the last may be smaller.

    Args:
        length: number of examples.
        batch_size: examples of one step.
        rng: the generator that draws the order; one draw an epoch, whatever the batch size.

    Yields:
        (batch,) int64.
    """
    order = rng.permutation(length)
    for start in range(0, length, batch_size):
        yield order[start : start + batch_size]


def run_epochs(
    epochs: int,
    train_epoch: Callable[[], None],
    measure: Measure,
    train: Examples,
    validation: Examples | None,
    on_epoch: OnEpoch,
) -> None:
    """Train for some epochs, and measure and report each.

    Args:
        epochs: how many.
        train_epoch: takes the steps of one epoch; it alone is timed.
        measure: returns the loss and the accuracy on some examples.
        train: the training part.
        validation: the validation part, or None.
        on_epoch: called with the metrics of each epoch.

    Raises:
        DivergenceError: the training loss is no finite number.
    """
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        train_epoch()
        seconds = time.perf_counter() - started
        on_epoch(measure_epoch(epoch, epochs, seconds, measure, train, validation))


def measure_epoch(
    epoch: int, epochs: int, seconds: float, measure: Measure, train: Examples, validation: Examples | None
) -> EpochMetrics:
    """Return the metrics of an epoch, measured on both parts with the weights as they are now.

    Args:
        epoch: from 1.
        epochs: how many there will be.
        seconds: duration of the epoch's updates.
        measure: returns the loss and the accuracy on some examples.
        train: the training part.
        validation: the validation part, or None.

    Raises:
        DivergenceError: the training loss is no finite number.
    """
    train_loss, train_accuracy = measure(train)
    if not math.isfinite(train_loss):
        raise DivergenceError(
            f"the training loss is {train_loss} after epoch {epoch} of {epochs}: the learning rate is too large"
        )
    val_loss, val_accuracy = measure(validation) if validation is not None else (None, None)
    return EpochMetrics(epoch, epochs, train_loss, train_accuracy, seconds, val_loss, val_accuracy)
