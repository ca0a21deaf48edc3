"""The training and validation sets of a board as examples: arrays, embeddings, or images decoded on access."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.boards import BoardData
from triptych.images.pixels import Pixels
from triptych.images.sources import ImageSource
from triptych.networks.minibatches import Examples, Indices, Rows


@dataclass(frozen=True)
class ImageRows:
    """Some images of a data set as the features of examples; each is decoded on access.

    Attributes:
        images: all raw images.
        indices: (n,) int64, the image of each row.
    """

    images: ImageSource
    indices: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of images, (n,); their sizes may differ."""
        return (len(self.indices),)

    def __len__(self) -> int:
        return len(self.indices)

    def select(self, rows: NDArray[np.int64]) -> ImageRows:
        """Return a subset of the images; nothing is decoded."""
        return replace(self, indices=self.indices[rows])

    def __getitem__(self, rows: Any) -> list[Pixels]:
        """Decode some images, each (height, width, channels) uint8."""
        return [self.images[int(index)] for index in self.indices[rows]]


def select_examples(data: BoardData, select: Callable[[Indices], Rows]) -> tuple[Examples, Examples | None]:
    """Return the training and validation examples of a board; None for an empty validation set.

    Args:
        data: the board.
        select: returns the features of images, given their indices, (n,) int64.
    """
    train, validation = data.split.train, data.split.validation
    chosen = Examples(select(validation), data.labels[validation]) if len(validation) else None
    return Examples(select(train), data.labels[train]), chosen


def select_parts(data: BoardData) -> tuple[Examples, Examples | None]:
    """Return the training and validation images of a board; each is decoded on access."""
    return select_examples(data, ImageRows(data.images, np.arange(len(data.images))).select)
