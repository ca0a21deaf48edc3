"""Labelled examples, shuffled minibatches and dropout masks, the same for every network with the same seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from triptych.errors import NonFiniteStepError

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]
Weights = NDArray[np.float64]


class Rows(Protocol):
    """The inputs of a network, one per row: an array, stored embeddings, or images that are decoded on access."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows, followed by the shape of a row if all rows have the same."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Return some of the rows."""


@dataclass(frozen=True)
class Examples:
    """Labelled inputs of a network.

    Attributes:
        features: n rows; the multilayer perceptrons take an array (n, inputs) float.
        labels: (n,) int64, 0..classes-1.
        weights: (n,) float64, by which the loss of each example is multiplied, with mean 1; None if all count alike.
    """

    features: Rows
    labels: Indices
    weights: Weights | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def weights_of(self, rows: Indices | slice) -> Weights | None:
        """Return the weights of some rows; None if all count alike."""
        return None if self.weights is None else self.weights[rows]


class Measured(NamedTuple):
    """How well a network fits some examples; losses are weighted if the examples are.

    Attributes:
        loss: the mean loss that the network is trained on.
        accuracy: the fraction of examples whose most probable class is the true one.
        log_loss: the mean negative logarithm of the true class's probability: the loss itself if that is cross-entropy.
    """

    loss: float
    accuracy: float
    log_loss: float


def mean_loss(losses: Floats, weights: Weights | None) -> float:
    """Return the mean of the losses of examples, (n,), each multiplied by its weight if there are weights.

    >>> losses = np.array([1.0, 2.0])
    >>> mean_loss(losses, None), mean_loss(losses, np.array([0.5, 1.5]))
    (1.5, 1.75)
    """
    return float((losses if weights is None else losses * weights).mean(dtype=np.float64))


def shuffle_minibatches(length: int, batch_size: int, rng: np.random.Generator) -> Iterator[Indices]:
    """Yield the indices of each batch of one epoch, in a new random order; the last batch may be smaller.

    Args:
        length: number of examples.
        batch_size: examples per step.
        rng: draws the order, once per epoch whatever the batch size.

    Yields:
        (batch,) int64.

    >>> [len(batch) for batch in shuffle_minibatches(10, 4, np.random.default_rng(0))]
    [4, 4, 2]
    """
    order = rng.permutation(length)
    for start in range(0, length, batch_size):
        yield order[start : start + batch_size]


def inplace_draw_mask(mask: Floats, probability: float, rng: np.random.Generator) -> None:
    """Fill a mask with 0 at the given probability, and with 1 / (1 - probability) elsewhere, which keeps the mean.

    This is inverted dropout (Srivastava et al. 2014): predictions need no scaling.

    Args:
        mask: (batch, units) float, contiguous; overwritten.
        probability: of dropping a unit, below 1.
        rng: draws one number per unit.
    """
    rng.random(out=mask, dtype=mask.dtype.type)
    np.greater_equal(mask, probability, out=mask)
    mask *= 1.0 / (1.0 - probability)


def check_step(value: Any, step: int) -> None:
    """Check that a training step is finite.

    Args:
        value: a scalar that depends on every weight, such as the loss.
        step: number of the step in its epoch, from 1.

    Raises:
        NonFiniteStepError: the value is infinite or not a number.
    """
    if not math.isfinite(value):
        raise NonFiniteStepError(step)
