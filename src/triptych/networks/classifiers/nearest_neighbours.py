"""Nearest neighbours on pixels: the training images are the model, and the nearest ones vote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych.errors import ConfigError
from triptych.networks.classifiers.contract import Arrays, Labels, Rows

if TYPE_CHECKING:
    from triptych.config.trainers import NearestNeighboursConfig


class NearestNeighbours:
    """scikit-learn's `KNeighborsClassifier` with Euclidean distances.

    Attributes:
        rows: (n, inputs) float32, the training images.
        labels: (n,) int64.
        names: how many neighbours vote, and whether each vote counts by the inverse of its distance.
    """

    iterations = 0

    def __init__(self, rows: NDArray[np.float32], labels: Labels, neighbours: int, vote: str, classes: int) -> None:
        """Keep the training images.

        Args:
            rows: (n, inputs) float32.
            labels: (n,) int64, 0..classes-1; each class has an image.
            neighbours: how many images vote.
            vote: "uniform" or "distance".
            classes: number of classes.
        """
        from sklearn.neighbors import KNeighborsClassifier

        self.rows, self.labels = rows, labels
        self.names: dict[str, Any] = {"neighbours": neighbours, "vote": vote, "classes": classes}
        self._searcher = KNeighborsClassifier(neighbours, weights=vote, algorithm="brute").fit(rows, labels)

    @classmethod
    def fit(cls, rows: Rows, labels: Labels, classes: int, settings: NearestNeighboursConfig) -> Self:
        """Remember the training images; see `PixelClassifier.fit`.

        Raises:
            ConfigError: more images are to vote than there are.
        """
        if settings.neighbours > len(labels):
            raise ConfigError(
                f"nearest_neighbours.neighbours = {settings.neighbours} is more than the {len(labels)} training "
                f"images: set at most {len(labels)}"
            )
        return cls(rows.astype(np.float32, copy=False), labels, settings.neighbours, settings.vote, classes)

    @property
    def dtype(self) -> str:
        """Number format of the rows that it takes."""
        return "float32"

    def predict_proba(self, rows: Rows) -> NDArray[np.float32]:
        """Return the share of the votes that each class gets, (n, classes) float32."""
        probabilities: NDArray[np.float32] = self._searcher.predict_proba(rows).astype(np.float32)
        return probabilities

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the training images and their labels."""
        return {"rows": self.rows, "labels": self.labels}

    @classmethod
    def from_arrays(cls, arrays: Arrays, **names: Any) -> Self:
        """Return the classifier that remembers these images."""
        return cls(arrays["rows"], arrays["labels"], **names)
