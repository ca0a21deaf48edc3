"""The most frequent class for every image: a model that is no better has learned nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from triptych.networks.classifiers.contract import Arrays, Labels, Rows, Weights

if TYPE_CHECKING:
    from triptych.config.trainers import MostFrequentConfig


class MostFrequent:
    """The class frequencies of the training set as probabilities, the same for every image.

    Equivalent to scikit-learn's `DummyClassifier(strategy="prior")`: among equally frequent classes, it predicts the
    first. Weights don't change it: accuracy counts every image once, so that no other constant answer is a harder
    baseline.

    >>> majority = MostFrequent(np.array([0.25, 0.75], dtype=np.float32))
    >>> majority.predict_proba(np.zeros((2, 3), dtype=np.float32))
    array([[0.25, 0.75],
           [0.25, 0.75]], dtype=float32)
    """

    iterations = 0
    names: ClassVar[dict[str, Any]] = {}

    def __init__(self, frequencies: NDArray[np.float32]) -> None:
        """Keep the frequencies, (classes,) float32."""
        self.frequencies = frequencies

    @classmethod
    def fit(
        cls,
        rows: Rows,  # noqa: ARG003 - only the labels count
        labels: Labels,
        classes: int,
        settings: MostFrequentConfig,  # noqa: ARG003
        weights: Weights | None = None,  # noqa: ARG003
    ) -> Self:
        """Count the labels, (n,) int64; see `PixelClassifier.fit`."""
        return cls((np.bincount(labels, minlength=classes) / len(labels)).astype(np.float32))

    @property
    def dtype(self) -> str:
        """Dtype of the rows."""
        return "float32"

    def predict_proba(self, rows: Rows) -> NDArray[np.float32]:
        """Return the frequencies for each row, (n, classes)."""
        return np.tile(self.frequencies, (len(rows), 1))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the frequencies."""
        return {"frequencies": self.frequencies}

    @classmethod
    def from_arrays(cls, arrays: Arrays, **names: Any) -> Self:  # noqa: ARG003 - there are none
        """Return the classifier with these frequencies."""
        return cls(arrays["frequencies"])
