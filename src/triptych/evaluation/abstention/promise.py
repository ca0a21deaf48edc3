"""The confidence above which a panel answers, such that a rate of errors among its answers is promised.

The promise: with a probability of at least 95 % over the draw of the validation images, at most the given share of the
answers is wrong, both among all images like them and in a test set with twice as many answers. This is selective
prediction with guaranteed risk (Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", 2017), by
fixed sequence testing (Angelopoulos et al., "Learn then Test", 2021) instead of a correction for several thresholds: it
goes from the most confident validation images to less confident ones, tests each rate of errors, and stops where a test
first fails. The binomial test, of all images, is exact if errors among the answers do not become rarer as less
confident images are answered. A test set has a sampling error of its own, which the hypergeometric test (Fisher's) adds
for each threshold. Both tests need independent images: of a group, such as the frames of a burst, one is drawn.
"""

from __future__ import annotations

from math import ceil, log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, hypergeom

from triptych.errors import ConfigError
from triptych.evaluation.predictions import Predictions

# The probability that the promise is broken.
BROKEN = 0.05
# Answers of the test set for each of the validation set, as with the default split.
TEST_TIMES = 2
# So many errors in the test set and none in the validation set are improbable.
FEW_ERRORS = ceil(log(BROKEN) / log(TEST_TIMES / (TEST_TIMES + 1)))
# The first test takes half of the images, but at most so many times those without which nothing can be promised.
FIRST_TIMES = 4
# Thresholds that are tested at most.
MOST_TESTS = 500
# The rate of errors among answers for which the coverage is logged.
COVERED_RATE = 0.02
# Of a product of a rate and a number of images.
ROUNDING = 1e-9
# Rates that are suggested where the one that was asked for cannot be promised.
SUGGESTED = (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]


def count_needed(rate: float) -> int:
    """Return the number of images without an error that it takes to promise a rate of errors.

    >>> count_needed(0.02)
    175
    """
    return ceil((FEW_ERRORS - 1) / (TEST_TIMES * rate) - ROUNDING)


def compute_p_values(errors: Counts, answered: Counts, rate: float) -> Floats:
    """Return the probability, (n,), of so few errors among so many answers if the promise is broken.

    >>> compute_p_values(np.array([0, 0, 1]), np.array([174, 175, 175]), 0.02).round(3)
    array([0.057, 0.038, 0.141])
    """
    tested = TEST_TIMES * answered
    too_many = np.floor(rate * tested + ROUNDING).astype(np.int64) + 1
    among_all = binom.cdf(errors, answered, rate)
    return np.asarray(np.maximum(among_all, hypergeom.cdf(errors, answered + tested, errors + too_many, answered)))


def find_threshold(confidence: Floats, correct: Flags, rate: float) -> float | None:
    """Return the confidence above which the rate of errors is promised; None if no such promise can be made.

    Args:
        confidence: (n,), the probability of each validation image's predicted class.
        correct: (n,) bool, which validation images are classified correctly.
        rate: of errors among the answers, above 0 and below 1.

    >>> confidence = np.linspace(1.0, 0.5, 300)
    >>> threshold = find_threshold(confidence, np.arange(300) < 200, 0.02)
    >>> int((confidence > threshold).sum())
    200
    """
    order = np.argsort(-confidence, kind="stable")
    ordered, errors = np.asarray(confidence)[order], (~np.asarray(correct)[order]).cumsum(dtype=np.int64)
    images, needed = len(ordered), count_needed(rate)
    first = max(needed, min(images // 2, FIRST_TIMES * needed))
    ends = _find_ends(ordered)
    ends = ends[ends >= first]
    # From the end, so that answering all images is among the thresholds.
    ends = ends[:: -max(1, ceil(len(ends) / MOST_TESTS))][::-1]
    passed = compute_p_values(errors[ends - 1], ends, rate) <= BROKEN
    kept = len(passed) if passed.all() else int(passed.argmin())
    if not kept:
        return None
    last = int(ends[kept - 1])
    return float(ordered[last]) if last < images else 0.0


def _find_ends(ordered: Floats) -> Counts:
    """Return how many images can be answered: equal confidences are answered together or not at all."""
    last = np.ones(min(1, len(ordered)), dtype=np.bool_)
    return np.flatnonzero(np.append(ordered[:-1] > ordered[1:], last)) + 1


def require_threshold(validated: Predictions, rate: float) -> float:
    """Return the threshold of `find_threshold`.

    Args:
        validated: the predictions of the validation images.
        rate: of errors among the answers, above 0 and below 1.

    Raises:
        ConfigError: there are too few validation images for the promise, or too many errors among them.
    """
    confidence, correct = draw_independent(validated)
    threshold = find_threshold(confidence, correct, rate)
    if threshold is not None:
        return threshold
    possible = [one for one in SUGGESTED if one > rate and find_threshold(confidence, correct, one) is not None]
    instead = f"--error-at-most {possible[0]:.0%} can be promised" if possible else "nor can any rate up to 40 %"
    reason = explain_no_promise(len(confidence), rate, grouped=validated.groups is not None)
    raise ConfigError(f"--error-at-most {100 * rate:.3g}% cannot be promised: {reason}; {instead}")


def explain_no_promise(drawn: int, rate: float, *, grouped: bool) -> str:
    """Return why a rate of errors cannot be promised.

    Args:
        drawn: number of validation images, or of groups of them.
        rate: of errors among the answers.
        grouped: whether images belong together, so that their groups are counted.

    >>> explain_no_promise(60, 0.02, grouped=False)
    'it takes 175 validation images without an error, and there are 60'
    """
    counted = "groups of validation images" if grouped else "validation images"
    needed = count_needed(rate)
    if drawn < needed:
        return f"it takes {needed} {counted} without an error, and there are {drawn}"
    return f"too many of the most confident validation images are wrong ({drawn} {counted})"


def measure_coverage(validated: tuple[Floats, Flags], tested: tuple[Floats, Flags], rate: float) -> dict[str, float]:
    """Return the share of test images that get an answer, and of the answers that are wrong, if there are any.

    Args:
        validated: confidence (n,) and correctness (n,) of the validation images, which set the threshold.
        tested: the same of the test images.
        rate: of errors that is promised; no image is answered if it cannot be.
    """
    threshold = find_threshold(*validated, rate)
    confidence, correct = tested
    answered = np.zeros(len(confidence), dtype=np.bool_) if threshold is None else confidence > threshold
    errors = {"error": float((~correct[answered]).mean())} if answered.any() else {}
    return {"coverage": float(answered.mean()), **errors}


def draw_independent(predictions: Predictions) -> tuple[Floats, Flags]:
    """Return confidence and correctness, each (m,), of images that can set a promise: one of each group, at random.

    The images of a group, such as the frames of a burst, are wrong together, and no test here counts them as several.
    One of each are independent draws of a random image of a random group.
    """
    if predictions.groups is None:
        return predictions.confidence, predictions.correct
    order = np.random.default_rng(0).permutation(len(predictions.groups))
    drawn = order[np.unique(predictions.groups[order], return_index=True)[1]]
    return predictions.confidence[drawn], predictions.correct[drawn]


def trace_risk(confidence: Floats, correct: Flags) -> tuple[Floats, Floats]:
    """Return coverage and accuracy, each (m,) float64, when only the most confident images are answered.

    >>> trace_risk(np.array([0.6, 0.9, 0.9]), np.array([False, True, True]))
    (array([0.66666667, 1.        ]), array([1.        , 0.66666667]))
    """
    order = np.argsort(-confidence, kind="stable")
    answered = _find_ends(np.asarray(confidence)[order])
    return answered / len(order), np.asarray(correct)[order].cumsum()[answered - 1] / answered
