"""Standardise embeddings to mean 0, variance 1 on the training images, so that several networks count alike.

A head that was trained on standardised embeddings is turned into one on the embeddings as they are: its layer is
linear, and so is the scaling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.networks.head import Head
from triptych.networks.light_torch import wrap_weights
from triptych.networks.minibatches import Examples, Rows
from triptych.system.slices import iterate_slices

# Rows that are read at a time.
ROWS = 4096
# A standard deviation below this part of the largest absolute value counts as 0: it is rounding.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Standardisation:
    """The mean and the scale of each dimension of embeddings.

    Attributes:
        mean: (dimension,) float64.
        scale: (dimension,) float64, the inverse of the standard deviation; 1 where nothing varies.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, rows: Rows) -> Standardisation:
        """Return the mean and the scale of rows, (n, dimension).

        >>> Standardisation.fit(np.array([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])).scale.round(3)
        array([0.612, 1.   ])
        """
        parts = list(iterate_slices(len(rows), ROWS))
        mean = sum(rows[part].sum(axis=0, dtype=np.float64) for part in parts) / len(rows)
        squares = sum(np.square(rows[part] - mean).sum(axis=0) for part in parts)
        deviation = np.sqrt(squares / len(rows))
        largest = np.max([np.abs(rows[part]).max(axis=0) for part in parts], axis=0)
        varies = deviation > ROUNDING * largest
        return cls(mean, np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 1.0))

    def of(self, examples: Examples) -> Examples:
        """Return the examples with standardised features."""
        return replace(examples, features=StandardisedRows(examples.features, self))

    def apply(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return rows, (..., dimension), standardised."""
        return ((rows - self.mean) * self.scale).astype(np.float32)

    def undo(self, head: Head) -> Head:
        """Return the head on rows as they are that computes the same as this one on standardised rows."""
        weight, bias = (one.detach().double() for one in (head.linear.weight, head.linear.bias))
        scaled = weight * weight.new_tensor(self.scale)
        shifted = bias - scaled @ weight.new_tensor(self.mean)
        return Head(wrap_weights(scaled.float(), shifted.float()), head.dropout, head.iterations)


@dataclass(frozen=True)
class StandardisedRows:
    """Rows that are standardised when they are read.

    Attributes:
        rows: as they are stored, (n, dimension).
        standardisation: the mean and the scale of each dimension.
    """

    rows: Rows
    standardisation: Standardisation

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows, and their length."""
        return self.rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any, /) -> NDArray[np.float32]:
        """Return some of the rows, standardised."""
        return self.standardisation.apply(self.rows[rows])
