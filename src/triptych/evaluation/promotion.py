"""Which model of a comparison may become the board's champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych.config.schema import PromoteConfig
from triptych.evaluation.gate import choose_lead, choose_share, compare_signs, compare_within_margin
from triptych.evaluation.pairs import join_words
from triptych.evaluation.report import EvaluatedPanel
from triptych.evaluation.statistics import Correct, Groups, spell_p

# A model that is not more accurate has to be cheaper by a tenth: measured times vary.
CHEAPER = 0.9


@dataclass(frozen=True)
class Promotion:
    """The decision on a challenger.

    Attributes:
        promoted: whether the challenger may become the champion.
        reason: why, in one sentence with the figures.
        opened: whether the test set was opened for the decision.
        spent: probability of a wrong promotion that the decision took from the board's budget.
    """

    promoted: bool
    reason: str
    opened: bool = False
    spent: float = 0.0


@dataclass(frozen=True)
class Match:
    """Which images of a part each of two models classifies correctly; neither was trained on one of them.

    Attributes:
        challenger: (n,) bool.
        champion: (n,) bool.
        groups: (n,) int64, the group of each image; None if every image is its own.
    """

    challenger: Correct
    champion: Correct
    groups: Groups | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.challenger)

    def describe(self, part: str) -> str:
        """Return the difference in accuracy as text."""
        points = 100.0 * float(self.challenger.mean() - self.champion.mean())
        return f"{points:+.2f} points against the champion on {len(self)} {part} images that it has not learnt from"


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


def judge_first(
    challenger: Correct, most_frequent: Correct, others: Mapping[str, Correct], level: float, groups: Groups | None
) -> Promotion:
    """Return whether a challenger may be the first champion: it beats a guess, and no panel is shown to be better.

    Args:
        challenger: (n,) bool, which test images it classifies correctly.
        most_frequent: (n,) bool, which images belong to the class that is most frequent in training.
        others: (n,) bool for each training of the other panels of the comparison, by its name.
        level: significance level, shared by the other trainings (Bonferroni).
        groups: (n,) int64, the group of each image; None if every image is its own.
    """
    guess = compare_signs(challenger, most_frequent, groups)
    # Not the mean over repeats, which the tables show.
    own = f"this training {challenger.mean():.4f}"
    figures = f"{own} against {most_frequent.mean():.4f}, exact {spell_p(guess.p_value)}"
    if guess.p_value > level:
        reason = f"it is not shown to be better than always answering the most frequent class ({figures})"
        return Promotion(promoted=False, reason=reason, opened=True)
    better = [
        label
        for label, correct in others.items()
        if compare_signs(correct, challenger, groups).p_value * len(others) <= level
    ]
    if better:
        reason = f"it is best on the validation set, but worse on the test set than {join_words(better)}"
        return Promotion(promoted=False, reason=reason, opened=True)
    reason = f"there was no champion; it beats the most frequent class ({figures}), and no panel is shown to be better"
    return Promotion(promoted=True, reason=reason, opened=True)


def judge(validation: Match, test: Match, left: float, config: PromoteConfig, *, cheaper: bool = False) -> Promotion:
    """Return whether a challenger replaces the champion, and what the decision takes from the board's budget.

    Args:
        validation: on the images of the validation set that the champion was not trained on.
        test: on the images of the test set that the champion was neither trained nor chosen on.
        left: what is left of the budget: the probability of a wrong promotion.
        config: the rule.
        cheaper: whether the challenger costs less.
    """
    if not len(test) or not len(validation):
        part = "validation" if len(test) else "test"
        reason = f"the champion was trained on every {part} image, so that it cannot be compared fairly"
        return Promotion(promoted=False, reason=reason)
    margin = config.margin if config.rule == "not-worse-and-cheaper" and cheaper else 0.0
    screen = _compare(validation, margin)
    share = choose_share(screen)
    aim = f"worse by less than {100 * margin:g} points" if margin else "better"
    if not share:
        reason = (
            f"{validation.describe('validation')} ({spell_p(screen)}): not shown to be {aim} there, so the test set"
        )
        return Promotion(promoted=False, reason=f"{reason} stayed closed")
    wanted = share * left
    if margin:
        p_value, spent = _compare(test, margin), wanted
        passed = p_value <= wanted
    else:
        signs = compare_signs(test.challenger, test.champion, test.groups)
        lead, spent = choose_lead(signs, wanted, left)
        p_value, passed = signs.p_value, signs.statistic >= lead
    verb = "shown" if passed else "not shown"
    reason = f"{test.describe('test')}: {verb} to be {aim} ({spell_p(p_value)}, where {spent:.2g} was allowed)"
    if passed:
        reason += "; its accuracy on them is selected, and too high on average"
    return Promotion(passed, reason, opened=True, spent=spent)


def _compare(match: Match, margin: float) -> float:
    """Return the one-sided p-value of whether the challenger is better, or worse by less than a margin."""
    if margin:
        return compare_within_margin(match.challenger, match.champion, margin, match.groups)
    return compare_signs(match.challenger, match.champion, match.groups).p_value


def is_cheaper(challenger: Mapping[str, float], champion: Mapping[str, float], cost: str) -> bool:
    """Return whether a challenger costs at least a tenth less than the champion.

    Args:
        challenger: its metrics by MLflow's name.
        champion: the same of the champion.
        cost: `parameters`, `model_mebibytes` or `predict_seconds`.

    >>> is_cheaper({"parameters": 80}, {"parameters": 100}, "parameters")
    True
    """
    if cost == "predict_seconds":
        speeds = (one.get("predict_images_per_second", 0.0) for one in (challenger, champion))
        own, theirs = (1.0 / speed if speed else np.inf for speed in speeds)
    else:
        own, theirs = (one.get(cost, np.inf) for one in (challenger, champion))
    return bool(own <= CHEAPER * theirs)


def find_most_frequent(labels: NDArray[np.int64], classes: int) -> int:
    """Return the class that is most frequent in some labels, as an index."""
    return int(np.bincount(labels, minlength=classes).argmax())
