"""Images as examples of a training, read ahead in threads batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.boards import BoardData
from triptych.images.sources import ImageSource
from triptych.networks.minibatches import Examples


@dataclass(frozen=True)
class ImageRows:
    """Some images of a data set, as the features of examples; nothing is decoded before it is asked for.

    Attributes:
        images: all raw images.
        indices: (n,) int64, the images that rows stand for.
    """

    images: ImageSource
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    def select(self, rows: NDArray[np.int64]) -> ImageRows:
        """Return the same for some of the images."""
        return replace(self, indices=self.indices[rows])


def select_parts(data: BoardData) -> tuple[Examples, Examples | None]:
    """Return the training and the validation images of a board; None where the validation part is empty."""
    rows: Any = ImageRows(data.images, np.arange(len(data.images)))
    train, validation = (
        Examples(rows.select(part), data.labels[part]) for part in (data.split.train, data.split.validation)
    )
    return train, validation if len(validation) else None


def select_examples(data: BoardData, rows: Any) -> tuple[Examples, Examples | None]:
    """Return the training and the validation examples; None where the validation part is empty."""
    train, validation = data.split.train, data.split.validation
    labels = data.labels
    chosen = Examples(_take(rows, validation), labels[validation]) if len(validation) else None
    return Examples(_take(rows, train), labels[train]), chosen


def _take(rows: Any, indices: NDArray[np.int64]) -> Any:
    """Return some rows of an array, or of embeddings that are read or computed when asked for."""
    return rows.select(indices) if hasattr(rows, "select") else rows[indices]
