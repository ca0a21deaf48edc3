"""The classifiers of pixels against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression as Solver
from sklearn.neighbors import KNeighborsClassifier

from triptych.config.trainers import LogisticRegressionConfig, MostFrequentConfig, NearestNeighboursConfig
from triptych.networks.classifiers.contract import Labels, PixelClassifier, Rows
from triptych.networks.classifiers.logistic_regression import LogisticRegression
from triptych.networks.classifiers.most_frequent import MostFrequent
from triptych.networks.classifiers.nearest_neighbours import NearestNeighbours


@pytest.fixture(scope="module")
def examples() -> tuple[Rows, Labels]:
    digits = load_digits()
    return (digits.data[:400] / 16.0).astype(np.float32), digits.target[:400].astype(np.int64)


def test_most_frequent_is_sklearns_dummy(examples: tuple[Rows, Labels]) -> None:
    rows, labels = examples
    ours = MostFrequent.fit(rows, labels, 10, MostFrequentConfig())
    theirs = DummyClassifier(strategy="prior").fit(rows, labels)
    assert np.allclose(ours.predict_proba(rows), theirs.predict_proba(rows), atol=1e-7)
    assert (ours.predict_proba(rows).argmax(axis=1) == theirs.predict(rows)).all()


@pytest.mark.parametrize("classes", [2, 10])
def test_logistic_regression_is_sklearns(examples: tuple[Rows, Labels], classes: int) -> None:
    few = examples[1] < classes
    rows, labels = examples[0][few], examples[1][few]
    ours = LogisticRegression.fit(rows, labels, classes, LogisticRegressionConfig(weight_decay=0.01))
    inverse_penalty = (2.0 if classes == 2 else 1.0) / (0.01 * len(rows))
    theirs = Solver(C=inverse_penalty, max_iter=2000).fit(rows.astype(np.float64), labels)
    assert np.abs(ours.predict_proba(rows) - theirs.predict_proba(rows)).max() < 1e-5
    assert ours.iterations == theirs.n_iter_[0]


@pytest.mark.parametrize("vote", ["uniform", "distance"])
def test_nearest_neighbours_are_sklearns(examples: tuple[Rows, Labels], vote: str) -> None:
    rows, labels = examples
    settings = NearestNeighboursConfig.model_validate({"neighbours": 3, "vote": vote})
    ours = NearestNeighbours.fit(rows[:300], labels[:300], 10, settings)
    theirs = KNeighborsClassifier(3, weights=vote).fit(rows[:300], labels[:300])
    assert np.abs(ours.predict_proba(rows[300:]) - theirs.predict_proba(rows[300:])).max() < 1e-6


@pytest.mark.parametrize(
    ("classifier", "settings"),
    [
        (MostFrequent, MostFrequentConfig()),
        (LogisticRegression, LogisticRegressionConfig()),
        (NearestNeighbours, NearestNeighboursConfig()),
    ],
)
def test_arrays_and_names_are_all_there_is(
    classifier: type[PixelClassifier], settings: object, examples: tuple[Rows, Labels]
) -> None:
    rows, labels = examples
    fitted = classifier.fit(rows, labels, 10, settings)
    again = classifier.from_arrays(fitted.arrays(), **fitted.names)
    assert np.array_equal(fitted.predict_proba(rows), again.predict_proba(rows))
    assert (again.names, again.iterations) == (fitted.names, fitted.iterations)
