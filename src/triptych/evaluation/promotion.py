"""Which model of a comparison may become the board's champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import EvaluatedPanel
from triptych.evaluation.statistics import PairedDifference, compare_pair


@dataclass(frozen=True)
class Promotion:
    """The decision on a challenger.

    Attributes:
        promoted: whether the challenger becomes the champion.
        reason: why, in one sentence with the figures.
        earlier: whether the same model was judged in an earlier comparison; it may have won or lost the title since.
    """

    promoted: bool
    reason: str
    earlier: bool = False


def choose_best(panels: Sequence[EvaluatedPanel]) -> EvaluatedPanel | None:
    """Return the panel that is best on the validation set, by accuracy, then log loss; None without a validation set.

    Choosing on the test set would bias the test against the champion that follows.
    """
    measured = [panel for panel in panels if "final_val_accuracy" in panel.metrics]
    return max(
        measured,
        key=lambda panel: (panel.metrics["final_val_accuracy"], -panel.metrics["final_val_log_loss"]),
        default=None,
    )


def judge(challenger: Predictions, champion: Predictions, confidence_level: float) -> Promotion:
    """Return whether a challenger is better than the champion on the same test images.

    Both criteria must hold: the paired bootstrap interval lies above 0, and the exact McNemar test is significant; only
    the latter is exact where few images differ.

    Args:
        challenger: its predictions of the test set.
        champion: the champion's predictions of the same images.
        confidence_level: two-sided; the probability of a false promotion is at most (1 - confidence_level) / 2.
    """
    pairs = ((challenger.indices, champion.indices), (challenger.labels, champion.labels))
    if not all(np.array_equal(own, theirs) for own, theirs in pairs):
        return Promotion(promoted=False, reason="the champion was tested on different images")
    paired = compare_pair(challenger.correct[None], champion.correct[None], confidence_level)
    better = paired.low > 0.0 and paired.p_value < 1.0 - confidence_level
    return Promotion(better, _describe(paired, confidence_level))


def _describe(paired: PairedDifference, confidence_level: float) -> str:
    return (
        f"{100 * paired.difference:+.2f} points against the champion "
        f"({100 * confidence_level:g} % interval {100 * paired.low:+.2f} to {100 * paired.high:+.2f}, "
        f"exact McNemar p = {paired.p_value:.2g})"
    )
