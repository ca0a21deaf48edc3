"""Deal images to parts, stratified by class, without parting a group."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Indices = NDArray[np.int64]


def deal_images(
    labels: Indices, groups: Indices | None, shares: ArrayLike, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the part of each image, (n,) int64, an index into `shares`.

    The parts get as close to their share of each class as groups allow. Groups of several images are dealt first, the
    largest first, each to the part where it adds least to the sum over parts and classes of count² / (share * total);
    single images then go where their class is scarcest, which is Webster's apportionment.

    scikit-learn's `StratifiedGroupKFold` has the same aim, but takes a second for 7,000 images, as it deals even single
    images one by one, and it knows equal shares only.

    Args:
        labels: (n,) int64, the class of each image.
        groups: (n,) int64, the group of each image; None if every image stands alone.
        shares: (parts,) above 0, the fraction of the images that each part should get.
        rng: draws the order of equally large groups and of single images.

    >>> parts = deal_images(np.repeat([0, 1], 10), None, [0.8, 0.2], np.random.default_rng(0))
    >>> np.bincount(parts[:10]), np.bincount(parts[10:])
    (array([8, 2]), array([8, 2]))
    """
    fractions = np.asarray(shares, dtype=np.float64)
    parts = np.zeros(len(labels), dtype=np.int64)
    counts = np.zeros((len(fractions), labels.max(initial=0) + 1))  # (parts, classes)
    grouped = _list_groups(groups, rng) if groups is not None else []
    totals = np.maximum(np.bincount(labels, minlength=counts.shape[1]), 1)
    for group in grouped:
        added = np.bincount(labels[group], minlength=counts.shape[1])
        growth = ((counts + added / 2.0) / totals) @ added / fractions
        fullness = counts.sum(axis=1) / fractions
        part = int(np.lexsort((fullness, growth))[0])
        parts[group], counts[part] = part, counts[part] + added
    single = np.ones(len(labels), dtype=bool)
    single[np.concatenate(grouped) if grouped else []] = False
    for label in range(counts.shape[1]):
        dealt = rng.permutation(np.flatnonzero(single & (labels == label)))
        parts[dealt] = chosen = _apportion(counts[:, label], counts.sum(axis=1), fractions, len(dealt))
        counts[:, label] += np.bincount(chosen, minlength=len(fractions))
    return parts


def _list_groups(groups: Indices, rng: np.random.Generator) -> list[Indices]:
    """Return the images of each group of several, the largest first and equally large ones in random order."""
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    return [members[number] for number in order if sizes[number] > 1]


def _apportion(
    counts: NDArray[np.float64], fullness: NDArray[np.float64], shares: NDArray[np.float64], images: int
) -> Indices:
    """Return the part of each of some images of one class, (images,) int64.

    Args:
        counts: (parts,), the images of the class that each part has.
        fullness: (parts,), all images that each part has: of equally deserving parts the emptiest comes first.
        shares: (parts,), the fraction of the images that each part should get.
        images: how many are dealt.
    """
    claims = (counts[:, None] + np.arange(images) + 0.5) / shares[:, None]  # (parts, images)
    ties = np.broadcast_to((fullness / shares)[:, None], claims.shape)
    return np.lexsort((ties.ravel(), claims.ravel()))[:images] // max(images, 1)
