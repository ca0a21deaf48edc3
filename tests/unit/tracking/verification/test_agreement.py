from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from triptych.evaluation.predictions import Predictions
from triptych.tracking.verification.agreement import (
    Agreement,
    compare_ingredients,
    compare_predictions,
)

LABELS = np.array([0, 1])
PROBABILITIES = np.array([[0.75, 0.25], [0.5, 0.5]])
PREDICTED = Predictions(np.arange(2), LABELS, PROBABILITIES, np.array([b"a", b"b"], dtype="S32"), ("cat", "dog"))
NUDGE = np.array([[1.0, -1.0], [0.0, 0.0]])

CASES = {
    "equal": (PREDICTED, Agreement.BITS),
    "of other rows of the data set": (replace(PREDICTED, indices=PREDICTED.indices + 5), Agreement.BITS),
    "rounded": (replace(PREDICTED, probabilities=PROBABILITIES + 1e-7 * NUDGE), Agreement.ROUNDING),
    "more than rounded": (replace(PREDICTED, probabilities=PROBABILITIES + 1e-5 * NUDGE), Agreement.DIFFERENT),
    "not a number": (replace(PREDICTED, probabilities=PROBABILITIES * np.nan), Agreement.DIFFERENT),
    "of other labels": (replace(PREDICTED, labels=LABELS[::-1]), Agreement.DIFFERENT),
    "of other images": (replace(PREDICTED, ids=PREDICTED.ids[::-1]), Agreement.DIFFERENT),
    "of other classes": (replace(PREDICTED, classes=("cat", "cow")), Agreement.DIFFERENT),
}


@pytest.mark.parametrize(("found", "expected"), CASES.values(), ids=CASES)
def test_predictions_agree_to_the_bit_to_rounding_or_not(found: Predictions, expected: Agreement) -> None:
    assert compare_predictions(PREDICTED, found)[0] is expected


@pytest.mark.parametrize("name", [name for name, (_, agreement) in CASES.items() if agreement is not Agreement.BITS])
def test_the_hash_of_other_predictions_is_another(name: str) -> None:
    assert CASES[name][0].digest() != PREDICTED.digest()


def test_the_hash_does_not_depend_on_the_place_in_the_data_set() -> None:
    assert CASES["of other rows of the data set"][0].digest() == PREDICTED.digest()


def test_a_difference_is_named_with_both_values() -> None:
    recorded = {"seed": 0, "embeddings": (1, 2), "settings": {"threads": 1, "epochs": 5}}
    found = {"seed": 0, "embeddings": [1, 2], "settings": {"threads": 2, "epochs": 5}, "new": "x" * 100}
    assert [str(one) for one in compare_ingredients(recorded, found)] == [
        f"new was none, is {'x' * 24}...",
        "settings.threads was 1, is 2",
    ]
    assert compare_ingredients(recorded, recorded) == []
