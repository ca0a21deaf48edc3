"""What every trainer has in common: examples in, the same batches for the same seed, metrics out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from triptych.errors import NonFiniteStepError

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]


class Rows(Protocol):
    """Inputs of a network, one a row: an array, stored embeddings, or images that are read when asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows, and what a row holds where all hold the same."""

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
    """

    features: Rows
    labels: Indices

    def __len__(self) -> int:
        return len(self.labels)


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
