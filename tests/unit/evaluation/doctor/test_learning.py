from __future__ import annotations

import numpy as np
import pytest

from helpers.evidence import make_evidence
from triptych.data.boards import BoardData
from triptych.evaluation.doctor.learning import find_stopped_early

EPOCHS = 60
FALLING = np.geomspace(1.0, 0.1, EPOCHS).tolist()
SATURATED = [0.99] * EPOCHS
RISING = np.linspace(0.1, 0.9, EPOCHS).tolist()

SILENT = {
    "accuracy does not rise any more": {"val_loss": FALLING, "val_accuracy": SATURATED},
    "patience ended it": {"val_loss": FALLING[:40], "val_accuracy": RISING[:40]},
    "the loss rises again": {"val_loss": [*FALLING[:-6], *FALLING[-12:-6]], "val_accuracy": RISING},
}


@pytest.mark.parametrize("curves", SILENT.values(), ids=SILENT)
def test_a_training_that_is_done_is_not_called_unfinished(curves: dict[str, list[float]], digits: BoardData) -> None:
    assert digits.prepared.config.numpy_mlp.epochs == EPOCHS
    evidence = make_evidence(digits, {"name": "numpy-mlp", "curves": {"train_loss": curves["val_loss"], **curves}})
    assert [*find_stopped_early(evidence)] == []


@pytest.mark.parametrize(("epochs", "found"), [(3, False), (8, True)])
def test_few_epochs_have_a_course(epochs: int, found: bool, digits: BoardData) -> None:  # noqa: FBT001
    few = {"val_loss": FALLING[:epochs], "train_loss": FALLING[:epochs], "val_accuracy": RISING[:epochs]}
    settings = digits.prepared.config.numpy_mlp.model_copy(update={"epochs": epochs})
    evidence = make_evidence(digits, {"name": "numpy-mlp", "curves": few}, numpy_mlp=settings)
    details = [one.detail for one in find_stopped_early(evidence)]
    assert details == ["validation loss down 3.8 % in the last of 8 epochs"] * found


def test_without_validation_the_training_loss_counts(digits: BoardData) -> None:
    panel = {"name": "numpy-mlp", "curves": {"train_loss": FALLING, "train_accuracy": RISING}}
    assert [*find_stopped_early(make_evidence(digits, panel | {"errors": 300}))] == [], "the rise may be memorised"
    [found] = find_stopped_early(make_evidence(digits, panel))
    assert found.detail.startswith("training loss down")
    assert found.setting == "numpy_mlp.epochs=120"
