from __future__ import annotations

import numpy as np

from helpers.evidence import make_evidence
from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.evaluation.doctor.checks import examine_models


def test_repeats_of_a_panel_are_taken_together(digits: BoardData) -> None:
    curves = [{"val_loss": [3.0, 1.0, 2.0]}, {"val_loss": [1.0, 1.0]}]
    evidence = make_evidence(
        digits,
        {"name": "numpy-mlp", "errors": 0, "curves": curves[0], "fit_seconds": 3.0},
        {"name": "numpy-mlp", "errors": 54, "curves": curves[1]},
        {"name": "most-frequent", "answer": 0},
        {"name": "most-frequent", "answer": 0},
    )
    assert [*evidence.panels] == ["numpy-mlp", "most-frequent"]
    panel = evidence.panels["numpy-mlp"]
    assert panel.correct.shape == (2, 540)
    assert panel.accuracy == 0.95
    assert panel.seconds == 2.0
    np.testing.assert_array_equal(panel.curve("val_loss"), [2.0, 1.0])
    assert len(panel.curve("train_loss")) == 0
    assert not panel.is_trained_in_epochs


def test_the_epoch_that_was_kept_is_the_last_or_the_best(digits: BoardData) -> None:
    losses = {"name": "numpy-mlp", "curves": {"val_loss": [3.0, 1.0, 2.0]}}
    for keep, expected in ((True, 1), (False, -1)):
        settings = digits.prepared.config.numpy_mlp.model_copy(update={"keep_best_epoch": keep, "monitor": "val_loss"})
        evidence = make_evidence(digits, losses, numpy_mlp=settings)
        assert evidence.panels["numpy-mlp"].kept_epoch == expected


def test_all_checks_take_a_cross_validation() -> None:
    data = load_board(prepare_board(resolve_config("digits", settings=["split.folds=5"]).boards[0]))
    always = int(np.bincount(data.labels).argmin())
    found = examine_models(
        make_evidence(data, {"name": "numpy-mlp", "errors": 9}, {"name": "torch-mlp", "answer": always})
    )
    assert [one.found.panel for one in found if one.code == "T001"] == ["torch-mlp"]
