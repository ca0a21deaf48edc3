"""The decision on a challenger: both models are scored on images of tonight that the champion has not learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from triptych.data.boards import BoardData, PreparedBoard, open_board
from triptych.data.stored import ImageIds
from triptych.errors import DamagedFileError, describe_error
from triptych.evaluation.gate import allot_budget
from triptych.evaluation.promotion import Match, Promotion, find_most_frequent, is_cheaper, judge, judge_first
from triptych.evaluation.report import EvaluatedPanel
from triptych.tracking.artifacts import PREDICTIONS_ARRAYS, VALIDATED_ARRAYS, load_logged_predictions
from triptych.tracking.client import connect
from triptych.tracking.registry.looks import count_looks
from triptych.tracking.registry.scoring import answer, load_seen


def decide(
    prepared: PreparedBoard,
    panel: EvaluatedPanel,
    others: Sequence[EvaluatedPanel],
    champion: ModelVersion | None,
    version: ModelVersion,
) -> Promotion:
    """Return whether a challenger may become the champion.

    Args:
        prepared: the board of tonight.
        panel: the challenger.
        others: the other panels of the comparison.
        champion: of the board; None if there is none.
        version: the challenger's.
    """
    data = open_board(prepared)
    budget = 1.0 - prepared.config.evaluate.confidence_level
    if champion is None:
        return _decide_first(data, panel, others, budget)
    try:
        seen = load_seen(champion, data)
        if seen is None:
            reason = f"nobody knows which images the champion, version {champion.version}, was trained on"
            return Promotion(promoted=False, reason=f"{reason}; {_explain_by_hand(prepared)}")
        validation = _match(data, panel, champion, VALIDATED_ARRAYS, seen.train)
        test = _match(data, panel, champion, PREDICTIONS_ARRAYS, np.concatenate([seen.train, seen.validation]))
    except (MlflowException, OSError, DamagedFileError) as error:
        reason = f"what the champion, version {champion.version}, answers cannot be found out ({describe_error(error)})"
        return Promotion(promoted=False, reason=f"{reason}; {_explain_by_hand(prepared)}")
    looks = count_looks(str(version.name), without=str(version.version))
    left = max(0.0, allot_budget(budget, looks.opened) - looks.spent)
    metrics = connect().get_run(str(champion.run_id)).data.metrics
    cheaper = is_cheaper(panel.metrics, metrics, prepared.config.promote.cost)
    return judge(validation, test, left, prepared.config.promote, cheaper=cheaper)


def _decide_first(data: BoardData, panel: EvaluatedPanel, others: Sequence[EvaluatedPanel], level: float) -> Promotion:
    test, classes = data.split.test, len(data.prepared.classes)
    most_frequent = data.labels[test] == find_most_frequent(data.labels[data.split.train], classes)
    # Each training of the other panels by itself: the champion is one training, too.
    others_correct = {
        other.name_training(data.prepared.config): load_logged_predictions(other.run_id).correct
        for other in others
        if other.panel != panel.panel
    }
    correct = load_logged_predictions(panel.run_id).correct
    groups = None if data.groups is None else data.groups[test]
    return judge_first(correct, most_frequent, others_correct, level, groups)


def _match(data: BoardData, panel: EvaluatedPanel, champion: ModelVersion, file: str, learnt: ImageIds) -> Match:
    """Return which images of a part both models classify correctly, of those that the champion has not learnt from."""
    predictions = load_logged_predictions(panel.run_id, file)
    fresh = ~np.isin(data.image_ids[predictions.indices], learnt)
    positions = predictions.indices[fresh]
    # By name: a class that the champion does not know is one that it gets wrong.
    truth = np.asarray(data.prepared.classes)[data.labels[positions]]
    groups = None if data.groups is None else data.groups[positions]
    return Match(predictions.correct[fresh], answer(champion, data, positions) == truth, groups)


def _explain_by_hand(prepared: PreparedBoard) -> str:
    return f"`triptych promote {prepared.config.name}/VERSION` decides by hand"
