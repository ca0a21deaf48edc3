"""Search spaces as plain data: the fields of a panel's section that a study varies, and their values.

They include the settings of the presets, so that the first trial of a study can be the panel's own setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; integers if both are integers.

    Attributes:
        low: the smallest value.
        high: the largest value.
        log: whether to sample on a logarithmic scale.
        counts_images: whether it is a number of training images, so that `high` is no larger than there are.
    """

    low: float
    high: float
    log: bool = False
    counts_images: bool = False


@dataclass(frozen=True)
class Choice:
    """Unordered alternatives.

    Attributes:
        values: the values, in the form that the field of the section takes.
    """

    values: tuple[Any, ...]


Space = Mapping[str, Range | Choice]
# How near to the edge of a range the best value counts as at the edge, as a share of the range.
EDGE = 0.02

BATCH_SIZES = Choice((16, 32, 64, 100))
MLP_SPACE: Space = {
    "learning_rate": Range(1e-3, 1.0, log=True),
    "momentum": Range(0.0, 0.95),
    "weight_decay": Range(0.0, 1e-3),
    "batch_size": BATCH_SIZES,
    "hidden_units": Choice(((50,), (300,), (50, 50), (100, 50), (128, 64))),
}
HEAD_SPACE: Space = {
    "learning_rate": Range(1e-4, 1.0, log=True),
    "momentum": Range(0.0, 0.95),
    "weight_decay": Range(1e-6, 1e-2, log=True),
    "batch_size": BATCH_SIZES,
    "epochs": Range(5, 50),
}
# The solver has no learning rate, batches or epochs.
SOLVED_HEAD_SPACE: Space = {"weight_decay": Range(1e-6, 1.0, log=True)}
LOGISTIC_REGRESSION_SPACE: Space = {"weight_decay": Range(1e-6, 10.0, log=True)}
NEAREST_NEIGHBOURS_SPACE: Space = {
    "neighbours": Range(1, 15, counts_images=True),
    "vote": Choice(("uniform", "distance")),
}
NOTHING_TO_TUNE: Space = {}


def find_edges(settings: Any, space: Space, images: int) -> list[str]:
    """Return the fields of a setting that lie at an edge of the search space, as text; beyond it may be better ones.

    What cannot go on is no edge: 0 of a linear scale, one neighbour, or as many as there are training images.

    Args:
        settings: the panel's section.
        space: the search space.
        images: number of training images.

    >>> from types import SimpleNamespace
    >>> settings = SimpleNamespace(learning_rate=0.999, momentum=0.0)
    >>> find_edges(settings, {"learning_rate": Range(1e-3, 1.0, log=True), "momentum": Range(0.0, 0.95)}, images=100)
    ['learning_rate=0.999 of 0.001 to 1']
    """
    found = []
    for name, searched in space.items():
        if isinstance(searched, Choice):
            continue
        value, low, high = (float(number) for number in (getattr(settings, name), searched.low, searched.high))
        scale = log if searched.log else float
        place = (scale(value) - scale(low)) / (scale(high) - scale(low))
        ends = searched.counts_images and value >= images
        if (place > 1.0 - EDGE and not ends) or (place < EDGE and searched.log):
            found.append(f"{name}={value:.3g} of {low:g} to {high:g}")
    return found
