"""Nested subsets: of one random order of the images, the first n, stratified by class, without parting a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triptych.data.folds.dealing import Indices


def draw_nested(
    labels: Indices, groups: Indices | None, sizes: Sequence[int], rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return the images of each subset, ascending; each subset contains all smaller ones.

    Groups are put in a random order within their most frequent class, and the orders of the classes are merged in
    proportion. The first group of each class comes first, so that every class is in every subset that has room for it.

    Args:
        labels: (n,) int64, the class of each image.
        groups: (n,) int64, the group of each image, which is in a subset as a whole; None if every image stands alone.
        sizes: at most how many images each subset has; fewer if the next group is too large.
        rng: draws the order.

    >>> subsets = draw_nested(np.repeat([0, 1], 4), None, [2, 4, 8], np.random.default_rng(0))
    >>> [np.bincount(np.repeat([0, 1], 4)[subset]).tolist() for subset in subsets]
    [[1, 1], [2, 2], [4, 4]]
    """
    _, codes = np.unique(np.arange(len(labels)) if groups is None else groups, return_inverse=True)
    counts = np.zeros((codes.max(initial=-1) + 1, labels.max(initial=0) + 1), dtype=np.int64)  # (groups, classes)
    np.add.at(counts, (codes, labels), 1)
    main, images = counts.argmax(axis=1), counts.sum(axis=1)
    places = np.empty(len(counts))
    for label in np.unique(main):
        own = rng.permutation(np.flatnonzero(main == label))
        places[own] = (np.cumsum(images[own]) - images[own] / 2) / images[own].sum()
        places[own[0]] = -1.0
    order = np.argsort(places, kind="stable")
    ends = np.cumsum(images[order])
    subset_of = np.empty(len(counts), dtype=np.int64)
    subset_of[order] = np.searchsorted(np.asarray(sizes), ends)
    return [np.flatnonzero(subset_of[codes] <= number) for number in range(len(sizes))]
