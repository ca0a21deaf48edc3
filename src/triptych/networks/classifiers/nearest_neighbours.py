"""Nearest neighbours on pixels: the training images are the model, and the nearest of them vote."""

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
        names: the number of neighbours, how votes are weighted, and the number of classes.

    >>> rows, labels = np.array([[0.0], [1.0], [5.0]], np.float32), np.array([0, 0, 1])
    >>> classifier = NearestNeighbours(rows, labels, neighbours=2, vote="uniform", classes=2)
    >>> classifier.predict_proba(np.array([[4.0]], np.float32))
    array([[0.5, 0.5]], dtype=float32)
    """

    iterations = 0

    def __init__(self, rows: NDArray[np.float32], labels: Labels, neighbours: int, vote: str, classes: int) -> None:
        """Keep the training images.

        Args:
            rows: (n, inputs) float32.
            labels: (n,) int64, 0..classes-1; each class has an image.
            neighbours: number of images that vote.
            vote: "uniform", or "distance" for votes weighted by the inverse distance.
            classes: number of classes.
        """
        from sklearn.neighbors import KNeighborsClassifier

        self.rows, self.labels = rows, labels
        self.names: dict[str, Any] = {"neighbours": neighbours, "vote": vote, "classes": classes}
        self._searcher = KNeighborsClassifier(neighbours, weights=vote, algorithm="brute").fit(rows, labels)

    @classmethod
    def fit(cls, rows: Rows, labels: Labels, classes: int, settings: NearestNeighboursConfig) -> Self:
        """Keep the training images; see `PixelClassifier.fit`.

        Raises:
            ConfigError: there are fewer images than neighbours.
        """
        if settings.neighbours > len(labels):
            raise ConfigError(
                f"nearest_neighbours.neighbours = {settings.neighbours} is more than the {len(labels)} training "
                f"images: set at most {len(labels)}"
            )
        return cls(rows.astype(np.float32, copy=False), labels, settings.neighbours, settings.vote, classes)

    @property
    def dtype(self) -> str:
        """Dtype of the rows."""
        return "float32"

    def predict_proba(self, rows: Rows) -> NDArray[np.float32]:
        """Return the share of the votes for each class, (n, classes) float32."""
        probabilities: NDArray[np.float32] = self._searcher.predict_proba(rows).astype(np.float32)
        return probabilities

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the training images and their labels."""
        return {"rows": self.rows, "labels": self.labels}

    @classmethod
    def from_arrays(cls, arrays: Arrays, **names: Any) -> Self:
        """Return the classifier with these images."""
        return cls(arrays["rows"], arrays["labels"], **names)
