"""What the champion's gate promises over a year of nights, simulated with the functions that decide.

The images of a board differ in difficulty, and all models share it, so that their errors overlap: the probability that
a model is correct on an image is logistic in a skill minus the difficulty of the image, which is normal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from triptych.config.schema import PromoteConfig
from triptych.evaluation.gate import allot_budget
from triptych.evaluation.promotion import Match, judge

VALIDATION_IMAGES, TEST_IMAGES = 252, 540
BUDGET = 0.05
# How much more the images differ than the noise of a decision; a challenger that is three points better than 95 % then
# disagrees with the champion on 5 % of the images.
DIFFICULTY = 3.0
CHAMPION, BETTER = 0.95, 0.98


@dataclass(frozen=True)
class Board:
    """The difficulties of the images of a board.

    Attributes:
        validation: (n_validation,) float64.
        test: (n_test,) float64.
    """

    validation: NDArray[np.float64]
    test: NDArray[np.float64]


def draw_board(rng: np.random.Generator) -> Board:
    """Return new images."""
    return Board(*(DIFFICULTY * rng.standard_normal(images) for images in (VALIDATION_IMAGES, TEST_IMAGES)))


def find_skill(accuracy: float) -> float:
    """Return the skill with which a model has this accuracy on all images that there might be."""
    difficulties = DIFFICULTY * np.random.default_rng(0).standard_normal(200_000)
    return float(brentq(lambda skill: expit(skill - difficulties).mean() - accuracy, -20.0, 60.0))


def draw_answers(rng: np.random.Generator, board: Board, skill: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which validation and test images a new model of this skill classifies correctly."""
    validation, test = (rng.random(len(part)) < expit(skill - part) for part in (board.validation, board.test))
    return validation, test


@dataclass(frozen=True)
class Life:
    """What happened to a board.

    Attributes:
        promoted: whether a challenger became champion on a night.
        opened: how often the test set was opened.
        spent: of the budget.
    """

    promoted: bool
    opened: int
    spent: float


def live(rng: np.random.Generator, nights: int, skill: float, *, growing: bool, last: float | None = None) -> Life:
    """Return what happens to a board on which a new challenger comes every night.

    Args:
        rng: of images and answers.
        nights: their number.
        skill: of the champion and of all challengers.
        growing: whether all images are new every night; if not, they stay the same.
        last: skill of the last challenger, whose promotion is the one that counts; None counts all.
    """
    board = draw_board(rng)
    champion = draw_answers(rng, board, skill)
    promoted, opened, spent = False, 0, 0.0
    for night in range(nights):
        is_last = night == nights - 1
        if growing:
            board = draw_board(rng)
            champion = draw_answers(rng, board, skill)
        challenger = draw_answers(rng, board, last if is_last and last is not None else skill)
        validation, test = (Match(own, theirs) for own, theirs in zip(challenger, champion, strict=True))
        decision = judge(validation, test, max(0.0, allot_budget(BUDGET, opened) - spent), PromoteConfig())
        promoted |= decision.promoted and (is_last or last is None)
        opened, spent = opened + decision.opened, spent + decision.spent
    return Life(promoted, opened, spent)


def measure_wrong_promotions(years: int = 150, nights: int = 365, seed: int = 0) -> dict[str, float]:
    """Return in which share of years at least one of the equally good challengers became champion."""
    rng, skill = np.random.default_rng(seed), find_skill(CHAMPION)
    return {
        name: float(np.mean([live(rng, nights, skill, growing=growing).promoted for _ in range(years)]))
        for name, growing in (("the same images", False), ("new images", True))
    }


def measure_power(boards: int = 1000, night: int = 31, seed: int = 1) -> dict[str, float]:
    """Return how often a challenger that is three points better becomes champion, and how often the two disagree."""
    rng, skill, better = np.random.default_rng(seed), find_skill(CHAMPION), find_skill(BETTER)
    found = [live(rng, night, skill, growing=False, last=better).promoted for _ in range(boards)]
    board = Board(np.empty(0), DIFFICULTY * rng.standard_normal(200_000))
    one, other = (draw_answers(rng, board, one)[1] for one in (skill, better))
    return {"promoted": float(np.mean(found)), "disagreement": float((one != other).mean())}
