"""Reference predictions, which a logged model must reproduce when it is loaded again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.boards import BoardData
from triptych.system.checked import read_arrays, reading
from triptych.system.files import replace_atomically

Probabilities = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class ReferencePredictions:
    """Images and the probabilities that the trainer computed for them.

    Attributes:
        indices: (n,) int64, images of the validation set, or of the training set if that is empty.
        probabilities: (n, classes).
    """

    indices: Indices
    probabilities: Probabilities


def choose_reference_images(data: BoardData, images: int) -> Indices:
    """Return the indices of the first images of the validation set, or of the training set if that is empty."""
    split = data.split
    return (split.validation if len(split.validation) else split.train)[:images]


def save_reference(reference: ReferencePredictions, file: Path) -> None:
    """Write reference predictions to an `.npz` file."""
    with replace_atomically(file) as partial:
        np.savez(partial, indices=reference.indices, probabilities=reference.probabilities)


def load_reference(file: Path) -> ReferencePredictions:
    """Return reference predictions that `save_reference` wrote.

    Raises:
        DamagedFileError: the file cannot be read.
    """
    with reading(file):
        arrays = read_arrays(file)
        return ReferencePredictions(arrays["indices"], arrays["probabilities"])
