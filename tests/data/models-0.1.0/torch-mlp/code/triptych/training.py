"""What every trainer has in common: examples in, the same batches for the same seed, metrics out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import NonFiniteStepError

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
        epochs: how many there will be at most; in the last one, how many there were.
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


def inplace_draw_mask(mask: Floats, probability: float, rng: np.random.Generator) -> None:
    """Fill a mask with 0, with the given probability, or else with what keeps the mean: 1 / (1 - probability).

    Inverted dropout (Srivastava et al. 2014): nothing needs to be scaled when predicting.

    Args:
        mask: (batch, units), overwritten; it must be contiguous.
        probability: with which a unit is left out, below 1.
        rng: draws one number a unit.
    """
    rng.random(out=mask, dtype=mask.dtype.type)
    np.greater_equal(mask, probability, out=mask)
    mask *= 1.0 / (1.0 - probability)


def check_step(value: Any, step: int) -> None:
    """Raise where a figure that every weight of a step has a part in is no finite number.

    Args:
        value: any figure of the step, a scalar.
        step: its number in the epoch, from 1.

    Raises:
        NonFiniteStepError: the value is infinite or not a number.
    """
    if not math.isfinite(value):
        raise NonFiniteStepError(step)
