"""Drift: are the images that were added since the last night like the earlier ones of their class?

The energy distance between two samples is 0 only where their distributions are equal (Szekely and Rizzo 2004, "Testing
for equal distributions in high dimension"); here it is that between embeddings, by which shifts of images are found
best (Rabanser, Guennemann, Lipton 2019, "Failing loudly"). If added and earlier images of a class are exchangeable,
any others could have been the added ones: the p-value counts how often a random choice is at least as far away, the
choice that was made included (Phipson and Smyth 2010). Images are permuted within their class only, so that more
photos of one class are no drift. Photos of one occasion are alike, and no random choice: they may well differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PERMUTATIONS = 999
# From this p-value down the sentence says so; images are added in many a night.
UNLIKE = 0.01
# As many images of a class are compared, drawn at random: the distances between all of them are needed.
MOST_OF_A_CLASS, MOST_IMAGES = 200, 1000


@dataclass(frozen=True)
class Drift:
    """How unlike the earlier images the added ones are.

    Attributes:
        panel: whose embeddings were compared.
        added: number of added images that were compared.
        earlier: number of earlier images that they were compared with.
        distance: the energy distance as a share of the mean distance between added and earlier images, 0..1, the mean
            over the classes.
        p_value: of a permutation test, at least 1 / (PERMUTATIONS + 1).
    """

    panel: str
    added: int
    earlier: int
    distance: float
    p_value: float

    @property
    def sentence(self) -> str:
        """What it says."""
        unlike = "unlike" if self.p_value <= UNLIKE else "not shown to be unlike"
        return (
            f"the added images are {unlike} the earlier ones of their classes (energy distance {self.distance:.3f} "
            f"between embeddings of {self.panel}, {self.added} and {self.earlier} images, p = {self.p_value:.2g})"
        )


def measure_drift(
    panel: str,
    embeddings: object,
    added: NDArray[np.bool_],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    rng: np.random.Generator,
) -> Drift | None:
    """Return how unlike the earlier images of their classes the added ones are.

    Args:
        panel: whose embeddings they are.
        embeddings: (n, dimension) float32, indexed like an array.
        added: (n,) bool, which images were added.
        labels: (n,) int64, the class of each image.
        groups: (n,) int64: one image of each group is compared, as its others are no independent ones; None: all are.
        rng: draws images and permutations.

    Returns:
        The drift; None if no class has two added and two earlier images.
    """
    chosen = _choose(added, labels, groups, rng)
    if not chosen:
        return None
    observed, permuted, shares = 0.0, np.zeros(PERMUTATIONS), []
    for rows in chosen:
        # Like any index: rows of files are read, not all of them.
        values = np.asarray(embeddings[rows], dtype=np.float64)  # type: ignore[index]
        distances, is_added = _measure_distances(values), added[rows]
        choices = rng.permuted(np.tile(is_added, (PERMUTATIONS, 1)), axis=1)
        energies, between = _measure_energies(distances, np.vstack([is_added, choices]))
        weight = is_added.sum() * (~is_added).sum() / len(rows)
        observed += weight * energies[0]
        permuted += weight * energies[1:]
        shares.append(max(0.0, energies[0]) / (2.0 * between[0]) if between[0] else 0.0)
    total = int(sum(added[rows].sum() for rows in chosen))
    # A hair below: sums of equal terms in another order may differ in their last digits.
    as_far = int((permuted >= observed * (1.0 - 1e-9)).sum())
    return Drift(
        panel,
        total,
        sum(map(len, chosen)) - total,
        float(np.mean(shares)),
        (1.0 + as_far) / (1.0 + PERMUTATIONS),
    )


def _choose(
    added: NDArray[np.bool_], labels: NDArray[np.int64], groups: NDArray[np.int64] | None, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return the images of each class that are compared, where there are two added and two earlier ones."""
    order = rng.permutation(len(labels))
    if groups is not None:
        # A group with an earlier image is an earlier one.
        order = order[np.argsort(added[order], kind="stable")]
        order = order[np.sort(np.unique(groups[order], return_index=True)[1])]
    most = max(2, min(MOST_OF_A_CLASS, MOST_IMAGES // len(np.unique(labels[added]))) // 2) if added.any() else 0
    chosen = []
    for label in np.unique(labels[added]).tolist():
        mine = order[labels[order] == label]
        parts = [part[:most] for part in (mine[added[mine]], mine[~added[mine]])]
        if min(map(len, parts)) >= 2:
            chosen.append(np.sort(np.concatenate(parts)))
    return chosen


def _measure_distances(values: Floats) -> Floats:
    """Return the Euclidean distances between all rows, (n, n)."""
    squares = (values**2).sum(axis=1)
    distances = squares[:, None] + squares - 2.0 * (values @ values.T)
    np.fill_diagonal(distances, 0.0)
    return np.asarray(np.sqrt(np.maximum(distances, 0.0)))


def _measure_energies(distances: Floats, added: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the energy distances and the mean distances between added and earlier images.

    Args:
        distances: (n, n), between all images of a class.
        added: (choices, n) bool, for each choice which images are the added ones; as many in each.
    """
    first = added.astype(np.float64)
    second = 1.0 - first
    to_first, to_second = first @ distances, second @ distances
    sizes = first.sum(axis=1), second.sum(axis=1)
    between = (to_first * second).sum(axis=1) / (sizes[0] * sizes[1])
    within = [
        (to * part).sum(axis=1) / size**2
        for to, part, size in ((to_first, first, sizes[0]), (to_second, second, sizes[1]))
    ]
    return 2.0 * between - within[0] - within[1], between
