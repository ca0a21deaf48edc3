"""A panel's predictions for the test images, and their file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.system.checked import read_arrays, reading
from triptych.system.files import replace_atomically


@dataclass(frozen=True)
class Predictions:
    """The predictions of one trained panel.

    Attributes:
        indices: (n,) int64, the test images, as indices into the data set.
        labels: (n,) int64, their true classes.
        probabilities: (n, classes), rows summing to one.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.floating[Any]]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Which images are classified correctly, (n,) bool."""
        right: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return right


def save_predictions(predictions: Predictions, file: Path) -> None:
    """Write predictions to an npz file, atomically."""
    with replace_atomically(file) as partial:
        np.savez_compressed(
            partial, indices=predictions.indices, labels=predictions.labels, probabilities=predictions.probabilities
        )


def load_predictions(file: Path) -> Predictions:
    """Return predictions that `save_predictions` wrote.

    Raises:
        DamagedFileError: the file cannot be read.
    """
    with reading(file):
        arrays = read_arrays(file)
        return Predictions(arrays["indices"], arrays["labels"], arrays["probabilities"])
