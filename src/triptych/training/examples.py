"""The training and validation sets of a board as examples: arrays, embeddings, or images decoded on access.

The training examples may have weights, by their classes and of their own; the validation examples count alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_sample_weight

from triptych.data.boards import BoardData
from triptych.errors import DataError
from triptych.images.pixels import Pixels
from triptych.images.sources import ImageSource
from triptych.networks.minibatches import Examples, Indices, Rows, Weights

# What scikit-learn calls the values of `class_weights`.
CLASS_WEIGHTS = {"none": None, "balanced": "balanced"}


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


def weigh_examples(labels: Indices, class_weights: str, own: Weights | None) -> Weights | None:
    """Return by what the loss of each training example is multiplied, (n,) with mean 1; None if all count alike.

    It is the weight of the example's class times its own, divided by the mean over all examples, so that learning rates
    and weight decay keep their meaning.

    Args:
        labels: (n,) int64.
        class_weights: "none", or "balanced", n / (classes * examples of the class), as in scikit-learn.
        own: (n,) how much each example counts, 0 or more; None if all count alike.

    Raises:
        DataError: every example has the weight 0.

    >>> weigh_examples(np.array([0, 0, 0, 1]), "balanced", None).round(3)
    array([0.667, 0.667, 0.667, 2.   ])
    """
    if class_weights == "none" and own is None:
        return None
    weights: Weights = compute_sample_weight(CLASS_WEIGHTS[class_weights], labels)
    weights = weights if own is None else weights * own
    if not weights.any():
        raise DataError(f"all {len(labels)} training images have the weight 0: give some of them a weight above 0")
    normalised: Weights = weights / weights.mean()
    return normalised


def select_examples(data: BoardData, select: Callable[[Indices], Rows]) -> tuple[Examples, Examples | None]:
    """Return the training and validation examples of a board; None for an empty validation set.

    Args:
        data: the board.
        select: returns the features of images, given their indices, (n,) int64.

    Raises:
        DataError: every training image has the weight 0.
    """
    train, validation = data.split.train, data.split.validation
    labels, own = data.labels[train], None if data.image_weights is None else data.image_weights[train]
    weights = weigh_examples(labels, data.prepared.config.class_weights, own)
    chosen = Examples(select(validation), data.labels[validation]) if len(validation) else None
    return Examples(select(train), labels, weights), chosen


def select_parts(data: BoardData) -> tuple[Examples, Examples | None]:
    """Return the training and validation images of a board; each is decoded on access."""
    return select_examples(data, ImageRows(data.images, np.arange(len(data.images))).select)
