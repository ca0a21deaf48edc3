"""Nearest neighbours on pixels: the training images are the model, and the nearest of them vote."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych.errors import ConfigError
from triptych.networks.classifiers.contract import Arrays, Labels, Rows, Weights

if TYPE_CHECKING:
    from triptych.config.trainers import NearestNeighboursConfig


def invert(distances: NDArray[Any]) -> NDArray[Any]:
    """Return 1 / distance; where a row has distances of 0, 1 for each of these and 0 for the others.

    >>> invert(np.array([[1.0, 2.0], [0.0, 2.0]]))
    array([[1. , 0.5],
           [1. , 0. ]])
    """
    with np.errstate(divide="ignore"):
        inverse = 1.0 / distances
    exact = np.isinf(inverse)
    return np.where(exact.any(axis=1, keepdims=True), exact, inverse)


# The votes of images at some distances, as scikit-learn weights them.
VOTES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {"uniform": np.ones_like, "distance": invert}


class NearestNeighbours:
    """scikit-learn's `KNeighborsClassifier` with Euclidean distances.

    Attributes:
        rows: (n, inputs) float32, the training images.
        labels: (n,) int64.
        weights: (n,) float64, by which the votes of the images are multiplied; None if all count alike.
        names: the number of neighbours, how votes are weighted, and the number of classes.

    >>> rows, labels = np.array([[0.0], [1.0], [5.0]], np.float32), np.array([0, 0, 1])
    >>> classifier = NearestNeighbours(rows, labels, neighbours=2, vote="uniform", classes=2)
    >>> classifier.predict_proba(np.array([[4.0]], np.float32))
    array([[0.5, 0.5]], dtype=float32)
    """

    iterations = 0

    def __init__(
        self,
        rows: NDArray[np.float32],
        labels: Labels,
        neighbours: int,
        vote: str,
        classes: int,
        weights: Weights | None = None,
    ) -> None:
        """Keep the training images.

        Args:
            rows: (n, inputs) float32.
            labels: (n,) int64, 0..classes-1; each class has an image.
            neighbours: number of images that vote.
            vote: "uniform", or "distance" for votes weighted by the inverse distance.
            classes: number of classes.
            weights: (n,) float64, above 0, or None.
        """
        from sklearn.neighbors import KNeighborsClassifier

        self.rows, self.labels, self.weights = rows, labels, weights
        self.names: dict[str, Any] = {"neighbours": neighbours, "vote": vote, "classes": classes}
        self._searcher = KNeighborsClassifier(neighbours, weights=vote, algorithm="brute").fit(rows, labels)

    @classmethod
    def fit(
        cls,
        rows: Rows,
        labels: Labels,
        classes: int,
        settings: NearestNeighboursConfig,
        weights: Weights | None = None,
    ) -> Self:
        """Keep the training images, without those of weight 0; see `PixelClassifier.fit`.

        Raises:
            ConfigError: there are fewer images than neighbours.
        """
        if weights is not None:
            kept = weights > 0
            rows, labels, weights = rows[kept], labels[kept], weights[kept]
        if settings.neighbours > len(labels):
            raise ConfigError(
                f"nearest_neighbours.neighbours = {settings.neighbours} is more than the {len(labels)} training "
                f"images: set at most {len(labels)}"
            )
        rows = rows.astype(np.float32, copy=False)
        return cls(rows, labels, settings.neighbours, settings.vote, classes, weights)

    @property
    def dtype(self) -> str:
        """Dtype of the rows."""
        return "float32"

    def predict_proba(self, rows: Rows) -> NDArray[np.float32]:
        """Return the share of the votes for each class, (n, classes) float32."""
        shares = self._searcher.predict_proba(rows) if self.weights is None else self._count_votes(rows, self.weights)
        probabilities: NDArray[np.float32] = shares.astype(np.float32)
        return probabilities

    def _count_votes(self, rows: Rows, weights: Weights) -> NDArray[np.float64]:
        """Return the share of the weighted votes for each class, (n, classes)."""
        distances, nearest = self._searcher.kneighbors(rows)  # (n, neighbours) each
        votes = VOTES[self.names["vote"]](distances) * weights[nearest]
        sums = np.zeros((len(rows), self.names["classes"]))
        np.add.at(sums, (np.arange(len(rows))[:, None], self.labels[nearest]), votes)
        shares: NDArray[np.float64] = sums / sums.sum(axis=1, keepdims=True)
        return shares

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the training images, their labels, and their weights if there are any."""
        arrays: dict[str, NDArray[Any]] = {"rows": self.rows, "labels": self.labels}
        return arrays if self.weights is None else arrays | {"weights": self.weights}

    @classmethod
    def from_arrays(cls, arrays: Arrays, **names: Any) -> Self:
        """Return the classifier with these images."""
        return cls(arrays["rows"], arrays["labels"], weights=arrays.get("weights"), **names)
