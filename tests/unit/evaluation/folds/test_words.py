from __future__ import annotations

from dataclasses import replace

import numpy as np

from triptych.data.boards import BoardData
from triptych.evaluation.folds.corrected import find_overlap_effect
from triptych.evaluation.folds.words import (
    build_fold_rows,
    collect_folds,
    describe_tested,
    explain_folds,
    find_design_effect,
)
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.statistics import measure_clustering

FOLDS = np.array([0, 0, 1, 1])
LABELS = np.array([0, 1, 0, 1])
SURE = np.eye(2)
PREDICTIONS = Predictions(np.arange(4), LABELS, SURE[[0, 0, 0, 1]], folds=FOLDS)


def test_the_table_has_the_accuracy_of_each_fold() -> None:
    rows = build_fold_rows({"one": [PREDICTIONS, PREDICTIONS], "other": [replace(PREDICTIONS, folds=None)]})
    assert rows == [{"panel": f"one #{repeat}", "fold 1": "0.5000", "fold 2": "1.0000"} for repeat in (0, 1)]


def test_the_interval_allows_for_groups_or_folds_whichever_needs_more() -> None:
    rng = np.random.default_rng(0)
    correct = {repeat: rng.random(40) < 0.7 for repeat in (0, 1)}
    folds = {repeat: np.arange(40) % 4 for repeat in (0, 1)}
    rows, groups = np.stack([*correct.values()]), np.arange(40) // 20
    clustering = measure_clustering(rows.mean(axis=0), groups)
    overlap, grouped = (find_overlap_effect(rows, np.stack([*folds.values()]), grouped=flag) for flag in (False, True))
    assert find_design_effect(correct, groups, {}) == clustering
    assert find_design_effect(correct, groups, folds) == max(clustering, grouped)
    assert find_design_effect(correct, None, folds) == overlap


def test_a_board_without_folds_is_described_as_before(digits: BoardData) -> None:
    assert collect_folds([0], [replace(PREDICTIONS, folds=None)]) == {}
    assert describe_tested(digits.prepared) == "540 test images"
    assert not explain_folds(digits.prepared)


def test_a_board_with_folds_says_how_it_was_tested(digits: BoardData) -> None:
    split = digits.prepared.config.split.model_copy(update={"folds": 5})
    prepared = replace(digits.prepared, config=digits.prepared.config.model_copy(update={"split": split}))
    assert [*collect_folds([3], [PREDICTIONS])] == [3]
    assert describe_tested(prepared) == "540 images out of fold (5 folds)"
    assert "4 of 5 folds" in explain_folds(prepared)[0]
