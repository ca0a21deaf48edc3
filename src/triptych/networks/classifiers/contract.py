"""What a classifier of pixels provides: fit, predict, and its arrays, from which it is built again without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]
Arrays = Mapping[str, NDArray[Any]]


class PixelClassifier(Protocol):
    """A classifier that is fitted in one go on rows of scaled pixels."""

    @property
    def names(self) -> dict[str, Any]:
        """The keyword arguments of `from_arrays`, as JSON values."""

    @property
    def iterations(self) -> int:
        """Iterations of its solver; 0 if it has none."""

    @classmethod
    def fit(cls, rows: Rows, labels: Labels, classes: int, settings: Any) -> Self:
        """Return a fitted classifier.

        Args:
            rows: (n, inputs) float32, scaled pixels.
            labels: (n,) int64, 0..classes-1.
            classes: number of classes; each has an image in the training part.
            settings: the panel's section of the configuration.

        Raises:
            ConfigError: a setting does not suit the data.
        """

    @property
    def dtype(self) -> str:
        """Number format of the rows that it takes."""

    def predict_proba(self, rows: Rows) -> Rows:
        """Return class probabilities, (n, classes), each row summing to one, of rows (n, inputs)."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything that was fitted, by name."""

    @classmethod
    def from_arrays(cls, arrays: Arrays, **names: Any) -> Self:
        """Return the classifier that `arrays` and `names` describe."""
