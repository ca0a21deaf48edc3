"""The distance of an image to the training images, in the features from which a network classifies.

It is the squared distance to the nearest of the stored training images on the principal axes of the training images,
plus the squared distance to these axes (Wang et al., "ViM", 2022). An embedding has two measures. Either both distances
are in standard deviations of the training images, as Mahalanobis does, or embeddings are scaled to length one, and the
distance is the mean one to the nearest five (Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors",
2022). Which of them is better depends on the network. A trial decides: classes are held out in turn, as if they were
foreign. Pixels are scaled to length one, too, because strokes differ in thickness, after a blur, because strokes that
are a pixel apart should be near each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych.networks.checksums import reading_model

FILE = "familiar.npz"
# Training images that are measured at most, those of them that set the axes, and validation images that set the limit.
TRAIN_IMAGES, AXIS_IMAGES, VALIDATION_IMAGES = 2000, 1000, 1000
# Axes at most of pixels and of an embedding, and images that it takes for each axis.
PIXEL_AXES, EMBEDDING_AXES, IMAGES_PER_AXIS = 64, 200, 5
# Nearest training images that count, images that it takes for each axis, and the unit of the distance to the axes, in
# which photos differ from each other most, where embeddings are scaled to length one.
NEIGHBOURS, NEIGHBOURS_PER_AXIS, BESIDE = 5, 1, 2.0
# Training images of the trial: at most, at least, and at least on both sides of a group of classes; number of groups.
TRIAL_IMAGES, LEAST_TRIAL_IMAGES, LEAST_GROUP_IMAGES, TRIAL_GROUPS = 200, 60, 10, 4
# By how much the neighbours' area under the ROC curve has to be larger.
TRIAL_MARGIN = 0.05
# Validation images that set the limit well enough by themselves, and folds of the training images that help fewer.
ENOUGH_VALIDATION, FOLDS = 100, 10
# Numbers of the axes at most, and of the stored training images.
AXIS_NUMBERS, STORED_NUMBERS = 200_000, 128_000
# Numbers of the features that are measured at most, for 80 MB.
FEATURE_NUMBERS = 10_000_000
# Standard deviation of the blur, in sides of the image.
BLUR = 0.05
# What counts as zero.
ROUNDING = 1e-9
# Share of familiar images that are refused.
REFUSED = 0.05

Features = NDArray[Any]
Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Familiarity:
    """What is stored of the training images to recognise foreign ones.

    Attributes:
        shape: (3,) int64, height, width and channels where features are pixels; (0,) where they are an embedding.
        origin: () float64, the darkest pixel; 0 for an embedding.
        mean: (dimension,) float32, of the training images.
        axes: (k, dimension) float16, the principal axes, orthonormal.
        spreads: (k + 1,) float32, the units of distance along each axis and beside the axes.
        stored: (m, k) float16, training images on the axes.
        limit: () float64, the distance above which an image is foreign.
        neighbours: () bool, whether embeddings are scaled to length one, and the nearest five count.
    """

    shape: NDArray[np.int64]
    origin: NDArray[np.float64]
    mean: NDArray[np.float32]
    axes: NDArray[np.float16]
    spreads: NDArray[np.float32]
    stored: NDArray[np.float16]
    limit: NDArray[np.float64]
    neighbours: NDArray[np.bool_] = field(default_factory=lambda: np.array(False))  # noqa: FBT003

    @classmethod
    def fit(
        cls,
        train: Features,
        validation: Features,
        shape: tuple[int, ...] = (),
        labels: NDArray[np.integer] | None = None,
        groups: NDArray[np.integer] | None = None,
    ) -> Self:
        """Return the axes of training images, and the limit above which 5 % of all familiar images are expected.

        The limit is a conformal quantile of the distances of the validation images. If there are few, those of training
        images to the training images of other folds count, too (Vovk, "Cross-conformal predictors", 2015), as long as
        training has not changed the features. It is infinite below 19 images.

        Args:
            train: (n, dimension).
            validation: (n_validation, dimension).
            shape: height, width and channels where features are pixels.
            labels: (n,) of the training images; without them, an embedding is measured in standard deviations.
            groups: (n,) of the training images, which no fold parts; None if training has changed the features.
        """
        neighbours = labels is not None and not shape and choose_neighbours(train, labels)
        fitted = cls.place(train, shape, neighbours=neighbours)
        few = validation[spread(len(validation), FEATURE_NUMBERS // train.shape[1])]
        distances = [fitted.measure(few)]
        if groups is not None and len(validation) < ENOUGH_VALIDATION:
            distances += cls._measure_folds(train, groups, neighbours=neighbours)
        return replace(fitted, limit=find_limit(np.concatenate(distances)))

    @classmethod
    def _measure_folds(cls, rows: Features, groups: NDArray[np.integer], *, neighbours: bool) -> Iterator[Rows]:
        """Yield the distances of the embeddings of each fold to those of the other folds."""
        names, group = np.unique(groups, return_inverse=True)
        fold = np.random.default_rng(0).permutation(len(names))[group] % FOLDS
        for left_out in range(min(FOLDS, len(names)) if len(names) > 1 else 0):
            yield cls.place(rows[fold != left_out], neighbours=neighbours).measure(rows[fold == left_out])

    @classmethod
    def place(cls, train: Features, shape: tuple[int, ...] = (), *, neighbours: bool = False) -> Self:
        """Return the axes of training images, without a limit.

        Args:
            train: (n, dimension).
            shape: height, width and channels where features are pixels.
            neighbours: whether embeddings are scaled to length one, and the nearest five count.
        """
        sides, origin = np.array(shape, dtype=np.int64), np.array(train.min() if shape else 0.0, dtype=np.float64)
        rows = prepare(train[spread(len(train), FEATURE_NUMBERS // train.shape[1])], sides, origin, unit=neighbours)
        mean = rows.mean(axis=0).astype(np.float32)
        most, each = PIXEL_AXES if shape else EMBEDDING_AXES, NEIGHBOURS_PER_AXIS if neighbours else IMAGES_PER_AXIS
        axes = find_axes(rows[spread(len(rows), AXIS_IMAGES)] - mean, most, each)
        units = np.array([*np.ones(len(axes)), BESIDE if neighbours else 1.0])
        spreads = units if shape or neighbours else measure_spreads(rows - mean, axes)
        few = rows[spread(len(rows), STORED_NUMBERS // max(1, len(axes)))]
        stored = ((few - mean) @ axes.T / spreads[:-1]).astype(np.float16)
        halved, limit = axes.astype(np.float16), np.array(np.inf)
        return cls(sides, origin, mean, halved, spreads.astype(np.float32), stored, limit, np.array(neighbours))

    def measure(self, features: Features) -> Rows:
        """Return the squared distance, (n,) float64, of images to the training images.

        Args:
            features: (n, dimension).
        """
        rows = prepare(features, self.shape, self.origin, unit=bool(self.neighbours)) - self.mean
        axes, stored = self.axes.astype(np.float64), self.stored.astype(np.float64)
        on_axes = rows @ axes.T
        # Axes in 16 bits are not quite orthonormal: a difference of lengths would lose its digits.
        beside = np.square(rows - on_axes @ axes).sum(axis=1) / self.spreads[-1] ** 2
        on_axes /= self.spreads[:-1]
        apart = np.square(stored).sum(axis=1) - 2 * on_axes @ stored.T
        if self.neighbours:
            apart = np.partition(apart, min(NEIGHBOURS, len(stored)) - 1)[:, :NEIGHBOURS]
        nearest = (apart.mean(axis=1) if self.neighbours else apart.min(axis=1)) + np.square(on_axes).sum(axis=1)
        return np.asarray(np.maximum(nearest, 0.0) + beside)

    def is_foreign(self, features: Features) -> NDArray[np.bool_]:
        """Return which images, (n,) bool, are farther from the training images than the limit."""
        return np.asarray(self.measure(features) > self.limit)

    def save(self, folder: Path) -> None:
        """Write the arrays to the folder of a model."""
        arrays = {one.name: getattr(self, one.name) for one in fields(self)}
        np.savez_compressed(folder / FILE, **arrays)


def load_familiarity(folder: Path) -> Familiarity | None:
    """Return what `Familiarity.save` wrote to the folder of a model; None for models of earlier versions.

    Raises:
        DamagedFileError: the file cannot be read.
    """
    if not (folder / FILE).is_file():
        return None
    with reading_model(folder / FILE), np.load(folder / FILE, allow_pickle=False) as arrays:
        return Familiarity(**arrays)


def spread(images: int, most: int) -> NDArray[np.int64]:
    """Return the numbers of at most so many images, evenly spread over all of them.

    >>> spread(10, 4).tolist(), spread(3, 4).tolist()
    ([0, 3, 6, 9], [0, 1, 2])
    """
    return np.linspace(0, images - 1, min(images, most)).astype(np.int64)


def choose_neighbours(features: Features, labels: NDArray[np.integer]) -> bool:
    """Return whether embeddings should be scaled to length one: a trial of both measures with held-out classes.

    Each group of classes is held out once. Half of the other images are the training images, and the area under the ROC
    curve says how well the held-out images are told apart from the other half. With one class or few images there is no
    trial, and the answer is no.

    Args:
        features: (n, dimension), embeddings.
        labels: (n,), their classes.
    """
    few = spread(len(labels), TRIAL_IMAGES)
    rows, groups = features[few], np.unique(labels[few], return_inverse=True)[1] % TRIAL_GROUPS
    gains = [
        _measure_gain(rows[own[half::2]], rows[own[1 - half :: 2]], rows[held])
        for held, own in ((np.flatnonzero(groups == one), np.flatnonzero(groups != one)) for one in np.unique(groups))
        for half in (0, 1)
        if len(few) >= LEAST_TRIAL_IMAGES and min(len(held), len(own)) >= LEAST_GROUP_IMAGES
    ]
    return bool(gains and np.mean(gains) > TRIAL_MARGIN)


def _measure_gain(train: Features, familiar: Features, foreign: Features) -> float:
    """Return by how much the area under the ROC curve is larger for neighbours."""
    near = Familiarity.place(train, neighbours=True)
    # In the small trial, the few axes leave out too much that tells classes apart.
    trials = (Familiarity.place(train), replace(near, spreads=np.ones_like(near.spreads)))
    areas = [np.mean(np.less.outer(trial.measure(familiar), trial.measure(foreign))) for trial in trials]
    return float(areas[1] - areas[0])


def prepare(features: Features, shape: NDArray[np.int64], origin: NDArray[np.float64], *, unit: bool = False) -> Rows:
    """Return features, (n, dimension) float64: pixels, which have a `shape`, are blurred; they have length one.

    Args:
        features: (n, dimension).
        shape: (3,), height, width and channels where features are pixels, otherwise (0,).
        origin: (), the darkest pixel.
        unit: whether embeddings are scaled to length one, too.
    """
    rows = features.astype(np.float64) - origin
    if len(shape):
        down, across = (_smooth(int(side)) for side in shape[:2])
        rows = np.einsum("hi,niwc,jw->nhjc", down, rows.reshape(-1, *shape), across, optimize=True).reshape(rows.shape)
    elif not unit:
        return rows
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))


def _smooth(side: int) -> Rows:
    """Return the matrix, (side, side), that blurs along one side; its rows sum to one."""
    apart = np.subtract.outer(np.arange(side), np.arange(side))
    weights = np.exp(-np.square(apart / (BLUR * side)) / 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def find_axes(rows: Rows, most: int, images_per_axis: int) -> Rows:
    """Return at most so many principal axes, (k, dimension), of rows (n, dimension)."""
    images, dimension = rows.shape
    count = max(1, min(most, AXIS_NUMBERS // dimension, images // images_per_axis))
    # The smaller of the two products has the same eigenvalues.
    squares, vectors = np.linalg.eigh(rows @ rows.T if images < dimension else rows.T @ rows)
    kept = np.flatnonzero(squares > ROUNDING * images)[-count:]
    if images < dimension:
        return np.asarray((vectors[:, kept] / np.sqrt(squares[kept])).T @ rows)
    return np.asarray(vectors[:, kept].T)


def measure_spreads(rows: Rows, axes: Rows) -> Rows:
    """Return the standard deviations, (k + 1,), of rows (n, dimension) along each axis and beside the axes."""
    on_axes = rows @ axes.T
    beside = np.square(rows - on_axes @ axes).sum(axis=1).mean() / max(1, rows.shape[1] - len(axes))
    return np.sqrt([*np.square(on_axes).mean(axis=0), beside if beside > ROUNDING else 1.0])


def find_limit(distances: Rows) -> NDArray[np.float64]:
    """Return the distance, () float64, that a further image exceeds with a probability of at most 5 %.

    Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005 (split conformal prediction).

    >>> float(find_limit(np.arange(1.0, 100.0))), float(find_limit(np.arange(18.0)))
    (95.0, inf)
    """
    rank = int(np.ceil((len(distances) + 1) * (1 - REFUSED) - ROUNDING))
    return np.array(np.sort(distances)[rank - 1] if rank <= len(distances) else np.inf)
