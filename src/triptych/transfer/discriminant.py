"""A linear discriminant, fitted out of fold in closed form: one pass over the features serves every fold."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from triptych.data.folds.drawing import draw_folds
from triptych.data.shards.rows import ShardedRows
from triptych.data.shards.side_by_side import SideBySideRows
from triptych.networks.minibatches import Indices
from triptych.system.slices import iterate_slices
from triptych.system.threads import limit_blas_threads

# How much of the mean variance is added to each, tried in turn: more is better for few images of many features.
SHRINKAGES = (0.01, 0.1, 1.0, 10.0)
# Longer embeddings are shortened: the cost grows with the square of their length.
MOST_FEATURES = 512
SLICE = 4096

Floats = NDArray[np.float32]
Features: TypeAlias = Floats | ShardedRows | SideBySideRows


class Discriminated(NamedTuple):
    """What `discriminate_out_of_fold` returns.

    Attributes:
        logits: (n, classes) float32; -inf of a class without images.
        distances: (n,) float32, Mahalanobis distance to the nearest mean of a class.
    """

    logits: Floats
    distances: Floats


class Sums(NamedTuple):
    """The sums over some images that a discriminant is fitted from.

    Attributes:
        products: (dimension, dimension), of the products of features.
        features: (classes, dimension), of the features.
        images: (classes,), the number of images.
    """

    products: NDArray[Any]
    features: NDArray[Any]
    images: NDArray[Any]


def discriminate_out_of_fold(
    features: Features, labels: Indices, *, classes: int, folds: int = 5, seed: int = 0, groups: Indices | None = None
) -> Discriminated:
    """Return what discriminants say of images that they were not fitted on: Fisher's, with one shrunk covariance.

    Of the shrinkages in `SHRINKAGES` the one with the highest accuracy out of fold is taken. The result is that of
    fitting every fold by itself, for the cost of one matrix product. One thread does it: those of NumPy's and SciPy's
    matrix products wait for each other, which took seven times as much CPU time.

    Args:
        features: (n, dimension) float32, an array or rows in files.
        labels: (n,) int64.
        classes: number of classes; one without images is never the answer.
        folds: number of folds.
        seed: of the folds.
        groups: (n,) int64, images of one group are in one fold; None if every image stands alone.
    """
    tested_in = draw_folds(labels, groups, folds, seed=seed, repeat=0)
    rows = [np.flatnonzero(tested_in == fold) for fold in range(folds)]
    with limit_blas_threads(1):
        short = shorten(features)
        short -= short.mean(axis=0)
        sums = [_sum(short, part, labels, classes) for part in rows]
        rests = [_add([own for own in sums if own is not tested]) for tested in sums]
        best, shrinkage, logits = -1.0, 0.0, np.empty((len(labels), classes), dtype=np.float32)
        for tried in SHRINKAGES:
            found = np.empty_like(logits)
            for part, rest in zip(rows, rests, strict=True):
                found[part] = _apply(rest, short[part], tried)
            accuracy = float((found.argmax(axis=1) == labels).mean())
            if accuracy > best:
                best, shrinkage, logits = accuracy, tried, found
        distances = np.empty(len(labels), dtype=np.float32)
        for part, rest in zip(rows, rests, strict=True):
            distances[part] = _measure_distances(rest, short[part], shrinkage)
    return Discriminated(logits, distances)


def shorten(features: Features) -> Floats:
    """Return a copy of features, (n, up to 512) float32: of longer ones random sums with random signs.

    Such sums keep distances and angles nearly as they are. Source: Charikar, Chen, Farach-Colton, "Finding frequent
    items in data streams", 2002; Weinberger et al., "Feature hashing for large scale multitask learning", 2009.

    Args:
        features: (n, dimension) float32, an array or rows in files.
    """
    images, dimension = features.shape
    short = np.empty((images, min(dimension, MOST_FEATURES)), dtype=np.float32)
    starts = np.arange(short.shape[1]) * dimension // short.shape[1]
    rng = np.random.default_rng(0)
    order, signs = rng.permutation(dimension), rng.choice(np.array([-1, 1], dtype=np.float32), dimension)
    for rows in iterate_slices(images, SLICE):
        part = np.asarray(features[rows])
        short[rows] = part if len(starts) == dimension else np.add.reduceat(part[:, order] * signs, starts, axis=1)
    return short


def _sum(features: Floats, rows: Indices, labels: Indices, classes: int) -> Sums:
    parts = []
    for some in iterate_slices(len(rows), SLICE):
        part, chosen = features[rows[some]], np.eye(classes, dtype=np.float32)[labels[rows[some]]]
        own = (part.T @ part, chosen.T @ part, chosen.sum(axis=0))
        parts.append(Sums(*(values.astype(np.float64) for values in own)))
    return _add(parts)


def _add(parts: list[Sums]) -> Sums:
    return Sums(*(np.sum(values, axis=0) for values in zip(*parts, strict=True)))


def _factorise(sums: Sums, shrinkage: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the lower Cholesky factor of the covariance within classes, and the whitened means."""
    images = np.maximum(sums.images, 1.0)
    means = sums.features / images[:, None]
    covariance = (sums.products - (means * images[:, None]).T @ means) / images.sum()
    covariance[np.diag_indices_from(covariance)] += shrinkage * covariance.trace() / len(covariance) + 1e-12
    factor = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    return factor, solve_triangular(factor, means.T, lower=True, check_finite=False).T


def _apply(sums: Sums, features: Floats, shrinkage: float) -> Floats:
    """Return the logits of images, (n, classes)."""
    factor, means = _factorise(sums, shrinkage)
    weights = solve_triangular(factor, means.T, lower=True, trans="T", check_finite=False)
    with np.errstate(divide="ignore"):
        bias = np.log(sums.images / sums.images.sum()) - 0.5 * (means**2).sum(axis=1)
    logits: Floats = features @ weights.astype(np.float32) + bias.astype(np.float32)
    return logits


def _measure_distances(sums: Sums, features: Floats, shrinkage: float) -> Floats:
    """Return the distances of images to the nearest mean, (n,)."""
    factor, means = _factorise(sums, shrinkage)
    inverse = solve_triangular(factor, np.eye(len(factor)), lower=True, check_finite=False)
    points, means = features @ inverse.T.astype(np.float32), means[sums.images > 0].astype(np.float32)
    squares = (points**2).sum(axis=1)[:, None] - 2 * points @ means.T + (means**2).sum(axis=1)
    distances: Floats = np.sqrt(np.maximum(squares.min(axis=1), 0.0))
    return distances
