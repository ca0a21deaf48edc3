"""How two trainings agree: their predictions, and everything that these depend on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from triptych.evaluation.predictions import Predictions

# Probabilities that differ by no more are the same but for rounding.
ROUNDING = 1e-6
# A long list or hash is cut to this length where it is shown.
SHOWN_CHARACTERS = 24
ABSENT = "none"


class Agreement(StrEnum):
    """How far the predictions of two trainings agree."""

    BITS = "the same bits"
    ROUNDING = "the same to 1e-6"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Difference:
    """Something that is not as it was recorded.

    Attributes:
        name: what it is.
        recorded: its value in the record, as text.
        found: its value here and now, as text.
    """

    name: str
    recorded: str
    found: str

    def __str__(self) -> str:
        """Return the difference as text."""
        return f"{self.name} was {self.recorded}, is {self.found}"


def compare_ingredients(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[Difference]:
    """Return what a training depends on that differs, in alphabetical order; a group of values is compared one by one.

    >>> recorded = {"seed": 0, "libraries": {"numpy": "2.3.0", "torch": "2.14.0"}}
    >>> [str(one) for one in compare_ingredients(recorded, {"seed": 0, "libraries": {"numpy": "2.4.0"}})]
    ['libraries.numpy was 2.3.0, is 2.4.0', 'libraries.torch was 2.14.0, is none']
    """
    before, now = dict(_flatten(recorded)), dict(_flatten(found))
    return [
        Difference(name, _shorten(before.get(name, ABSENT)), _shorten(now.get(name, ABSENT)))
        for name in sorted(before.keys() | now.keys())
        if before.get(name, ABSENT) != now.get(name, ABSENT)
    ]


def compare_predictions(recorded: Predictions, found: Predictions) -> tuple[Agreement, float]:
    """Return how two predictions of the same test images agree, and the largest difference of a probability.

    That difference is infinite if they are of other images or classes.
    """
    alike = all(
        np.array_equal(getattr(recorded, name), getattr(found, name))
        for name in ("ids", "labels", "classes", "columns")
    )
    if not alike or recorded.probabilities.shape != found.probabilities.shape:
        return Agreement.DIFFERENT, np.inf
    if np.array_equal(recorded.probabilities, found.probabilities):
        return Agreement.BITS, 0.0
    difference = float(np.abs(recorded.probabilities - found.probabilities).max())
    return (Agreement.ROUNDING if difference <= ROUNDING else Agreement.DIFFERENT), difference


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def _shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
