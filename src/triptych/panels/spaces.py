"""Search spaces as plain data: which fields of a panel's section may be chosen, and among what.

The choices hold what the presets use, so that a panel's own setting can be the first trial of its study.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; whole ones where both are.

    Attributes:
        low: the smallest.
        high: the largest.
        log: whether orders of magnitude count, not differences.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """Some values, in no order.

    Attributes:
        values: each as the section's field takes it.
    """

    values: tuple[Any, ...]


Space = Mapping[str, Range | Choice]

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
# A last layer that is solved for takes no steps.
SOLVED_HEAD_SPACE: Space = {"weight_decay": Range(1e-6, 1.0, log=True)}
LOGISTIC_REGRESSION_SPACE: Space = {"weight_decay": Range(1e-6, 10.0, log=True)}
NEAREST_NEIGHBOURS_SPACE: Space = {"neighbours": Range(1, 15), "vote": Choice(("uniform", "distance"))}
NOTHING_TO_TUNE: Space = {}
