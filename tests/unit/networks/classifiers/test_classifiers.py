"""The classifiers of pixels against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression as Solver
from sklearn.neighbors import KNeighborsClassifier

from triptych.config.trainers import LogisticRegressionConfig, MostFrequentConfig, NearestNeighboursConfig
from triptych.errors import ConfigError
from triptych.networks.classifiers.contract import Labels, PixelClassifier, Rows, Weights
from triptych.networks.classifiers.logistic_regression import LogisticRegression
from triptych.networks.classifiers.most_frequent import MostFrequent
from triptych.networks.classifiers.nearest_neighbours import NearestNeighbours

# How often each of the 400 images counts: once on average, 0 to 3 times.
TIMES = np.resize([0, 1, 0, 2, 3, 0, 1, 1], 400)


@pytest.fixture(scope="module")
def examples() -> tuple[Rows, Labels]:
    digits = load_digits()
    return (digits.data[:400] / 16.0).astype(np.float32), digits.target[:400].astype(np.int64)


@pytest.mark.parametrize("weights", [None, TIMES.astype(float)], ids=["alike", "weighted"])
def test_most_frequent_is_sklearns_dummy_with_or_without_weights(
    examples: tuple[Rows, Labels], weights: Weights | None
) -> None:
    rows, labels = examples
    ours = MostFrequent.fit(rows, labels, 10, MostFrequentConfig(), weights)
    theirs = DummyClassifier(strategy="prior").fit(rows, labels)
    assert np.allclose(ours.predict_proba(rows), theirs.predict_proba(rows), atol=1e-7)
    assert (ours.predict_proba(rows).argmax(axis=1) == theirs.predict(rows)).all()


@pytest.mark.parametrize(("classes", "weighted"), [(2, False), (10, False), (2, True), (10, True)])
def test_logistic_regression_is_sklearns(examples: tuple[Rows, Labels], classes: int, *, weighted: bool) -> None:
    few = examples[1] < classes
    rows, labels = examples[0][few], examples[1][few]
    weights = TIMES[few].astype(float) if weighted else None
    ours = LogisticRegression.fit(rows, labels, classes, LogisticRegressionConfig(weight_decay=0.01), weights)
    inverse_penalty = (2.0 if classes == 2 else 1.0) / (0.01 * len(rows))
    theirs = Solver(C=inverse_penalty, max_iter=2000).fit(rows.astype(np.float64), labels, sample_weight=weights)
    assert np.abs(ours.predict_proba(rows) - theirs.predict_proba(rows)).max() < 1e-5
    assert ours.iterations == theirs.n_iter_[0]


@pytest.mark.parametrize("vote", ["uniform", "distance"])
def test_nearest_neighbours_are_sklearns(examples: tuple[Rows, Labels], vote: str) -> None:
    rows, labels = examples
    settings = NearestNeighboursConfig.model_validate({"neighbours": 3, "vote": vote})
    ours = NearestNeighbours.fit(rows[:300], labels[:300], 10, settings)
    theirs = KNeighborsClassifier(3, weights=vote).fit(rows[:300], labels[:300])
    assert np.abs(ours.predict_proba(rows[300:]) - theirs.predict_proba(rows[300:])).max() < 1e-6
    alike = NearestNeighbours.fit(rows[:300], labels[:300], 10, settings, np.ones(300))
    # Among the images themselves are distances of 0.
    assert np.abs(alike.predict_proba(rows) - theirs.predict_proba(rows)).max() < 1e-6


@pytest.mark.parametrize("vote", ["uniform", "distance"])
def test_the_vote_of_a_neighbour_is_multiplied_by_its_weight(vote: str) -> None:
    rows, labels = np.array([[0.0], [2.0], [3.0], [9.0]], np.float32), np.array([0, 0, 1, 2])
    settings = NearestNeighboursConfig.model_validate({"neighbours": 2, "vote": vote})
    fitted = NearestNeighbours.fit(rows, labels, 3, settings, np.array([3.0, 0.0, 0.5, 0.5]))
    # The image of weight 0 has no vote: the neighbours of 1 are those at 0 and 3, at the distances 1 and 2.
    votes = {"uniform": [3.0, 0.5, 0.0], "distance": [3.0, 0.25, 0.0]}[vote]
    np.testing.assert_allclose(fitted.predict_proba(np.array([[1.0]], np.float32)), [np.divide(votes, sum(votes))])
    with pytest.raises(ConfigError, match="neighbours = 4 is more than the 3 training images"):
        NearestNeighbours.fit(rows, labels, 3, NearestNeighboursConfig(neighbours=4), np.array([3.0, 0.0, 0.5, 0.5]))


@pytest.mark.parametrize("weights", [None, TIMES.astype(float)], ids=["alike", "weighted"])
@pytest.mark.parametrize(
    ("classifier", "settings"),
    [
        (MostFrequent, MostFrequentConfig()),
        (LogisticRegression, LogisticRegressionConfig()),
        (NearestNeighbours, NearestNeighboursConfig()),
    ],
)
def test_arrays_and_names_are_all_there_is(
    classifier: type[PixelClassifier], settings: object, weights: Weights | None, examples: tuple[Rows, Labels]
) -> None:
    rows, labels = examples
    fitted = classifier.fit(rows, labels, 10, settings, weights)
    again = classifier.from_arrays(fitted.arrays(), **fitted.names)
    assert np.array_equal(fitted.predict_proba(rows), again.predict_proba(rows))
    assert (again.names, again.iterations) == (fitted.names, fitted.iterations)
