"""The interface of a classifier of pixels: fit, predict, and arrays from which it is rebuilt without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]
Weights = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]


class PixelClassifier(Protocol):
    """A classifier of rows of scaled pixels that is fitted without epochs."""

    @property
    def names(self) -> dict[str, Any]:
        """The keyword arguments of `from_arrays`, as JSON values."""

    @property
    def iterations(self) -> int:
        """Iterations that its solver took; 0 if it has no solver."""

    @classmethod
    def fit(cls, rows: Rows, labels: Labels, classes: int, settings: Any, weights: Weights | None = None) -> Self:
        """Return a fitted classifier.

        Args:
            rows: (n, inputs) float32, scaled pixels.
            labels: (n,) int64, 0..classes-1.
            classes: number of classes; each has at least one row.
            settings: the panel's section of the configuration.
            weights: (n,) float64, how much each row counts, 0 or more, with mean 1; None if all count alike.

        Raises:
            ConfigError: a setting does not fit the data.
        """

    @property
    def dtype(self) -> str:
        """Dtype of the rows."""

    def predict_proba(self, rows: Rows) -> Rows:
        """Return class probabilities of rows (n, inputs): (n, classes), each row sums to one."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything that was fitted, by name."""

    @classmethod
    def from_arrays(cls, arrays: Arrays, **names: Any) -> Self:
        """Return the classifier with these arrays and names."""
