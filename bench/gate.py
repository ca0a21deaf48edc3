"""What the champion's gate promises over a year of nights, simulated with the functions that decide.

The images of a board differ in difficulty, and all models share it, so that their errors overlap: the probability that
a model is correct on an image is logistic in a skill minus the difficulty of the image, which is normal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from measure import Figure
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
SECTION, DRAWS_OF_A_YEAR = "trust", 5


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


def simulate_years(draws: int, seed: int = 10) -> list[Figure]:
    """Simulate years of equally good challengers, and how often at least one of them is promoted."""
    rng, skill, years = np.random.default_rng(seed), find_skill(CHAMPION), draws // DRAWS_OF_A_YEAR
    figures = []
    for growing, images in ((False, "the same"), (True, "new")):
        wrong = float(np.mean([live(rng, 365, skill, growing=growing).promoted for _ in range(years)]))
        name = f"a wrong promotion in a year of 365 equally good challengers, {images} images every night"
        figures.append(Figure(SECTION, name, wrong, wrong, wrong, 0.05, at_most=True, seed=seed))
    return figures


def simulate_better_challenger(draws: int, seed: int = 11) -> list[Figure]:
    """Simulate a challenger that is three points better, after thirty that are no better."""
    rng, skill, better = np.random.default_rng(seed), find_skill(CHAMPION), find_skill(BETTER)
    found = float(np.mean([live(rng, 31, skill, growing=False, last=better).promoted for _ in range(draws)]))
    name = "a challenger of 98 against 95 % promoted on night 31: 252 and 540 images, 4.8 % disagreement"
    return [Figure(SECTION, name, found, found, found, 0.65, seed=seed)]
