"""Train a panel with more and more of a board's training images, and classify the same test images each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from triptych.data.boards import BoardData
from triptych.data.folds.nested import draw_nested
from triptych.errors import ConfigError
from triptych.panels.kinds import find_kind, import_embedding
from triptych.system.progress import tracking
from triptych.system.threads import limit_blas_threads
from triptych.training.jobs import PanelJob
from triptych.transfer.records import EmbeddingRecord, collect_embeddings, count_shards

# A curve has from three sizes, as a power law has three unknowns, to seven: an eighth of the images to all of them.
FEWEST_SIZES, MOST_SIZES, RATIO = 3, 7, 2**0.5
# The smallest size has at least so many images of a class on average.
IMAGES_PER_CLASS = 4


@dataclass(frozen=True)
class Subset:
    """A part of the training and validation images.

    Attributes:
        size: number of its place in the curve, from 0, the smallest.
        draw: number of the draw, from 0; the subsets of a draw are nested.
        train: (n,) int64, its training images, ascending.
        validation: (m,) int64, its validation images, ascending: the same share of all as of the training images.
    """

    size: int
    draw: int
    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def choose_sizes(images: int, classes: int) -> list[int]:
    """Return the numbers of training images of a curve, ascending.

    Args:
        images: all training images.
        classes: number of classes.

    Raises:
        ConfigError: there are too few images for a curve.

    >>> choose_sizes(1000, 10)
    [125, 177, 250, 354, 500, 707, 1000]
    """
    smallest = IMAGES_PER_CLASS * classes
    sizes = [round(images / RATIO**step) for step in reversed(range(MOST_SIZES))]
    sizes = [size for size in sizes if size >= smallest]
    if len(sizes) < FEWEST_SIZES:
        raise ConfigError(
            f"{images} training images of {classes} classes are too few for a learning curve, which needs "
            f"{round(smallest * RATIO ** (FEWEST_SIZES - 1))}: {FEWEST_SIZES} sizes from {smallest} images on, "
            f"{IMAGES_PER_CLASS} for each class; add images"
        )
    return sizes


def draw_subsets(data: BoardData, draws: int) -> list[Subset]:
    """Return all subsets of a curve; only the largest size, with all images, has one for all draws.

    Args:
        data: the board, of which the order of each draw depends on `split.seed`.
        draws: number of draws.

    Raises:
        ConfigError: there are too few images for a curve, or a group is too large.
    """
    split = data.split
    sizes = choose_sizes(len(split.train), len(data.prepared.classes))
    shares = [size / len(split.train) for size in sizes]
    subsets = []
    for draw in range(draws):
        rng = np.random.default_rng([data.prepared.config.split.seed, draw])
        parts = []
        for part in (split.train, split.validation):
            groups = None if data.groups is None else data.groups[part]
            numbers = [max(1, round(share * len(part))) for share in shares]
            parts.append([part[rows] for rows in draw_nested(data.labels[part], groups, numbers, rng)])
        subsets += [Subset(size, draw, *rows) for size, rows in enumerate(zip(*parts, strict=True))]
    _check_groups(subsets, data)
    return subsets


def _check_groups(subsets: Sequence[Subset], data: BoardData) -> None:
    """Raise if groups are so large that a subset lacks a class, or all validation images."""
    classes = len(np.unique(data.labels[data.split.train]))
    for subset in subsets:
        missing = classes - len(np.unique(data.labels[subset.train]))
        if missing or (len(data.split.validation) and not len(subset.validation)):
            lacking = f"{missing} of {classes} classes" if missing else "the validation images"
            raise ConfigError(
                f"split.group_by={data.prepared.config.split.group_by} makes groups so large that a part of the images "
                f"lacks {lacking}: add images, or leave it out"
            )


def embed_panels(data: BoardData) -> dict[str, EmbeddingRecord]:
    """Embed every image of a board with its backbones, unless the embeddings are stored; return the records by panel.

    Raises:
        WeightsError: the weights of a backbone are missing.
    """
    panels = data.prepared.config.backbone_panels
    if not panels:
        return {}
    with tracking(f"choose the number format of {', '.join(panels)}", passing=True):
        plan = import_embedding().plan_board(data, panels)
    for error in plan.failures.values():
        raise error
    shards = range(count_shards(len(data.images)))
    with tracking(f"embed {', '.join(panels)}") as move:
        part = import_embedding().embed_board(data, plan, shards, on_images=move)
    joined = collect_embeddings(plan, [part])
    return {panel: joined.record_of(panel) for panel in panels}


def train_on_subsets(
    data: BoardData,
    job: PanelJob,
    subsets: Sequence[Subset],
    embedded: EmbeddingRecord | None,
    on_training: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.bool_]:
    """Return which test images each training classifies correctly, (sizes, draws, test images) bool.

    Each draw has a seed of its own. A training that draws nothing is done once for all draws of the largest size.

    Args:
        data: the board.
        job: the panel.
        subsets: as `draw_subsets` returns them.
        embedded: the embeddings of its backbone; None if it has none.
        on_training: called with the number of trainings done so far and their total.

    Raises:
        ConfigError: a setting does not suit the smallest size.
        DivergenceError: a training diverged.
    """
    kind = find_kind(job.prepared.config, job.panel)
    sizes, draws = (1 + max(getattr(subset, name) for subset in subsets) for name in ("size", "draw"))
    test = data.split.test
    correct = np.zeros((sizes, draws, len(test)), dtype=np.bool_)
    for done, subset in enumerate(subsets):
        if subset.size == sizes - 1 and subset.draw and not kind.draws(job.settings):
            correct[subset.size, subset.draw] = correct[subset.size, 0]
        else:
            split = replace(data.split, train=subset.train, validation=subset.validation)
            part = replace(data, prepared=job.prepared, split=split)
            with limit_blas_threads(job.settings.threads):
                trainer = kind.find_trainer()(part, replace(job, repeat=subset.draw), embedded)
                trained = trainer.train(job.settings, lambda metrics: None)
                predicted = trainer.predict(trained.network, test).argmax(axis=1)
            correct[subset.size, subset.draw] = predicted == data.labels[test]
        on_training(done + 1, len(subsets))
    return correct
