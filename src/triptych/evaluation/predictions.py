"""A panel's predictions for the images of a part, and their file."""

from __future__ import annotations

from dataclasses import dataclass, field
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
        indices: (n,) int64, the images, as indices into the data set.
        labels: (n,) int64, their true classes.
        probabilities: (n, classes), rows summing to one.
        ids: (n,) S32, the images by their content; empty in files of earlier versions.
        classes: the class names; empty in files of earlier versions.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.floating[Any]]
    ids: NDArray[np.bytes_] = field(default_factory=lambda: np.empty(0, dtype="S32"))
    classes: tuple[str, ...] = ()

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Which images are classified correctly, (n,) bool."""
        right: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return right

    def answers(self) -> dict[bytes, str]:
        """Return the name of the predicted class of each image, by the image's content."""
        names = np.asarray(self.classes)[self.probabilities.argmax(axis=1)] if self.classes else ()
        return dict(zip(self.ids.tolist(), map(str, names), strict=False))


def save_predictions(predictions: Predictions, file: Path) -> None:
    """Write predictions to an npz file, atomically."""
    with replace_atomically(file) as partial:
        np.savez_compressed(partial, **vars(predictions))


def load_predictions(file: Path) -> Predictions:
    """Return predictions that `save_predictions` wrote.

    Raises:
        DamagedFileError: the file cannot be read.
    """
    with reading(file):
        arrays = read_arrays(file)
        names = arrays.get("classes", np.empty(0, dtype=np.str_))
        ids = arrays.get("ids", np.empty(0, dtype="S32"))
        return Predictions(
            arrays["indices"], arrays["labels"], arrays["probabilities"], ids, tuple(map(str, names.tolist()))
        )
