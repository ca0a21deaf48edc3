"""Which labels are probably wrong, by models that have not seen the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

Labels = NDArray[np.int64]
Logits = NDArray[np.floating[Any]]
# A class with fewer images teaches too little to judge its labels.
FEW_IMAGES = 5
# A label is suspected if it is wrong with at least this probability.
LEAST_PROBABILITY = 0.7
# The noise is fitted on so many images, or so many probabilities if these are more images.
FITTED_IMAGES, FITTED_VALUES = 5_000, 2**20
LOG_TEMPERATURES, MOST_NOISE = (-3.0, 4.0), 0.5
# Up to a tenth of the labels of public data sets are wrong (Northcutt, Athalye, Mueller, "Pervasive label errors in
# test sets", 2021). A larger rate has to make the logarithm of the likelihood larger by so much: by chance, seven in a
# thousand sets of right labels get there (Wilks 1938, for a rate at the end of its range).
USUAL_NOISE, LEAST_GAIN = 0.1, 3.0
# Distances beyond the third quartile by so many interquartile ranges are outliers, on a logarithmic scale: Tukey's
# "far out".
FAR_OUT = 3.0


@dataclass(frozen=True)
class Suspect:
    """An image whose label is probably wrong.

    Attributes:
        index: of the image.
        label: its class as given.
        suggested: the class that it probably is.
        probability: that the label is wrong.
    """

    index: int
    label: int
    suggested: int
    probability: float


@dataclass(frozen=True)
class Noise:
    """How the labels of a data set follow from the probabilities of a model.

    A label is drawn with the model's probabilities, once its logits are divided by a temperature; in a share of the
    images it is then replaced by any other class.

    Attributes:
        temperature: above one if the model is overconfident.
        rate: share of the images with a wrong label.
    """

    temperature: float
    rate: float


def fit_noise(logits: Logits, labels: Labels) -> Noise:
    """Return the temperature and the rate of wrong labels that make the labels most likely.

    A large rate is taken to be 0 unless that is clearly less likely: where the features say nothing, labels half of
    which are wrong are as likely as labels that are drawn with the shares of the classes.

    Args:
        logits: (n, classes), of models that were not trained on the image.
        labels: (n,) int64, the labels as given.
    """
    most = max(FITTED_IMAGES, FITTED_VALUES // logits.shape[1])
    rows = np.unique(np.linspace(0, len(labels) - 1, most).astype(np.int64))
    some, given_labels, others = logits[rows].astype(np.float64), labels[rows], logits.shape[1] - 1

    def find_given(logarithm: float) -> NDArray[np.float64]:
        return np.asarray(softmax(some / np.exp(logarithm), axis=1)[np.arange(len(rows)), given_labels])

    def fit_rate(logarithm: float) -> tuple[float, float]:
        given = find_given(logarithm)

        def measure_loss(rate: float) -> float:
            return _mean_loss((1.0 - rate) * given + rate * (1.0 - given) / others)

        best = minimize_scalar(measure_loss, bounds=(0.0, MOST_NOISE), method="bounded", options={"xatol": 1e-5})
        return float(best.fun), float(best.x)

    options = {"bounds": LOG_TEMPERATURES, "method": "bounded", "options": {"xatol": 0.02}}
    logarithm = float(minimize_scalar(lambda tried: fit_rate(tried)[0], **options).x)
    loss, rate = fit_rate(logarithm)
    right = minimize_scalar(lambda tried: _mean_loss(find_given(tried)), **options)
    shares = np.bincount(given_labels, minlength=logits.shape[1])[given_labels] / len(rows)
    gain = len(rows) * (min(float(right.fun), _mean_loss(shares)) - loss)
    if rate <= USUAL_NOISE or gain > LEAST_GAIN:
        return Noise(float(np.exp(logarithm)), rate)
    return Noise(float(np.exp(right.x)), 0.0)


def _mean_loss(probabilities: NDArray[np.float64]) -> float:
    """Return the mean negative logarithm of the probabilities of labels."""
    return -float(np.log(np.maximum(probabilities, 1e-30)).mean())


def find_suspects(logits: Logits, labels: Labels) -> list[Suspect]:
    """Return the labels that are wrong with a probability of at least 0.7, the most certain first.

    As in confident learning (Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in dataset labels",
    2021) the predictions are out of fold, and the rate of wrong labels is estimated from them. Its counts are not used:
    they call every image a wrong label that is classified wrongly with some confidence, which is most of the images
    where the features are poor. Bayes' rule on `fit_noise` finds more of the labels that were changed on purpose, and
    nothing where none was; `bench/labels.py` measures both.

    Images of classes with fewer than five images are no suspects, and nothing is suggested to be of these classes.

    Args:
        logits: (n, classes), of models that were not trained on the image.
        labels: (n,) int64, the labels as given.

    >>> sure = [[0.9, 0.1]] * 10 + [[0.1, 0.9]] * 11
    >>> [(one.index, one.suggested) for one in find_suspects(np.log(sure), np.array([0] * 11 + [1] * 10))]
    [(10, 1)]
    """
    judged = np.bincount(labels, minlength=logits.shape[1]) >= FEW_IMAGES
    # A class that the other folds lack, as all its images are one group, cannot be predicted.
    rows = np.flatnonzero(judged[labels] & np.isfinite(logits[np.arange(len(labels)), labels]))
    if not len(rows):
        return []
    noise = fit_noise(logits[rows], labels[rows])
    scaled = softmax(logits[rows].astype(np.float64) / noise.temperature, axis=1)
    given = scaled[np.arange(len(rows)), labels[rows]]
    flipped = noise.rate * (1.0 - given) / (logits.shape[1] - 1)
    wrong = flipped / np.maximum((1.0 - noise.rate) * given + flipped, 1e-30)
    suggested = np.where(judged, scaled, -1.0).argmax(axis=1)
    chosen = np.flatnonzero((wrong >= LEAST_PROBABILITY) & (suggested != labels[rows]))
    chosen = chosen[np.argsort(-wrong[chosen], kind="stable")]
    columns: tuple[NDArray[Any], ...] = (rows[chosen], labels[rows[chosen]], suggested[chosen], wrong[chosen])
    return [Suspect(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def find_outliers(distances: NDArray[np.floating[Any]]) -> list[int]:
    """Return the images that are like none of the classes, the farthest first.

    Args:
        distances: (n,), of each image to the nearest class.

    >>> find_outliers(np.array([1.0, 1.1, 1.2, 1.3, 9.0]))
    [4]
    """
    logarithms = np.log(np.maximum(distances, 1e-12))
    low, high = np.quantile(logarithms, [0.25, 0.75])
    far = np.flatnonzero(logarithms > high + FAR_OUT * (high - low))
    found: list[int] = far[np.argsort(-distances[far], kind="stable")].tolist()
    return found
