"""The parts of every fold: each image is in the test part of one fold, in each repetition of another division."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triptych.config.schema import SplitConfig
from triptych.data.folds.dealing import Indices, deal_images
from triptych.data.splits import Split
from triptych.errors import DataError


def draw_folds(labels: Indices, groups: Indices | None, folds: int, *, seed: int, repeat: int) -> Indices:
    """Return the fold that tests each image, (n,) int64, 0..folds-1.

    Args:
        labels: (n,) int64, the class of each image.
        groups: (n,) int64, the group of each image, which no fold parts; None if every image stands alone.
        folds: number of folds.
        seed: of the split.
        repeat: number of the repetition, from 0; each divides the images in another way.

    >>> draw_folds(np.array([0, 0, 0, 1, 1, 1]), None, 3, seed=0, repeat=0)
    array([1, 2, 0, 2, 1, 0])
    """
    rng = np.random.default_rng([seed, repeat])
    return deal_images(labels, groups, np.full(folds, 1.0 / folds), rng)


def divide_rest(
    tested: NDArray[np.bool_],
    labels: Indices,
    groups: Indices | None,
    validation_fraction: float,
    rng: np.random.Generator,
) -> tuple[Indices, Indices]:
    """Return the training and the validation part of a fold, (n_train,) and (n_validation,) int64, ascending.

    Args:
        tested: (n,) bool, which images the fold tests.
        labels: (n,) int64, the class of each image.
        groups: (n,) int64, the group of each image, or None.
        validation_fraction: of the images that are not tested.
        rng: draws the validation part.
    """
    rest = np.flatnonzero(~tested)
    if not validation_fraction:
        return rest, rest[:0]
    own = None if groups is None else groups[rest]
    parts = deal_images(labels[rest], own, [1.0 - validation_fraction, validation_fraction], rng)
    return rest[parts == 0], rest[parts == 1]


def draw_repetition(
    split: Split, labels: Indices, image_ids: NDArray[np.bytes_], settings: SplitConfig, repeat: int
) -> list[Split]:
    """Return the split of each fold of a repetition; groups, and copies of an image, stay together.

    Args:
        split: that of the board.
        labels: (n,) int64, the class of each image.
        image_ids: (n,) "S32", a hash of each image.
        settings: the number of folds, the fraction of validation and the seed.
        repeat: number of the repetition, from 0.
    """
    groups = np.unique(image_ids, return_inverse=True)[1] if split.groups is None else split.groups
    tested_in = draw_folds(labels, groups, settings.folds, seed=settings.seed, repeat=repeat)
    drawn = []
    for fold in range(settings.folds):
        rng = np.random.default_rng([settings.seed, repeat, fold])
        parts = divide_rest(tested_in == fold, labels, groups, settings.validation_fraction, rng)
        drawn.append(
            Split(f"{split.split_id}-{repeat}.{fold}", *parts, np.flatnonzero(tested_in == fold), split.groups)
        )
    return drawn


def require_classes(folds: Sequence[Split], labels: Indices, classes: Sequence[str]) -> None:
    """Check that the training part of each fold has images of every class.

    Raises:
        DataError: one has not.
    """
    for fold in folds:
        counts = np.bincount(labels[fold.train], minlength=len(classes))
        if counts.min() == 0:
            raise DataError(
                f"class {classes[int(counts.argmin())]!r} has no image to train on in one of the folds, as its images "
                f"are in few groups: add images, or lower split.folds or split.validation_fraction"
            )
