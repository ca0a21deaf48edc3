from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from triptych.data.folds.drawing import draw_folds
from triptych.transfer import discriminant
from triptych.transfer.discriminant import MOST_FEATURES, discriminate_out_of_fold, shorten

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 90)
FEATURES = (2 * np.eye(3, 8)[LABELS] + RNG.normal(size=(90, 8)) + 5).astype(np.float32)


class Shrunk:
    """A covariance for scikit-learn, shrunk as ours is."""

    covariance_: Any

    def fit(self, rows: Any) -> Shrunk:
        """Estimate the covariance of rows, (n, dimension)."""
        covariance = np.cov(rows.T, bias=True)
        self.covariance_ = covariance + 0.1 * covariance.trace() / len(covariance) * np.eye(len(covariance))
        return self


def test_the_closed_form_is_that_of_scikit_learn_fitted_to_every_fold(monkeypatch: Any) -> None:
    monkeypatch.setattr(discriminant, "SHRINKAGES", (0.1,))
    found = discriminate_out_of_fold(FEATURES, LABELS, classes=3, folds=4, seed=2)
    tested_in = draw_folds(LABELS, None, 4, seed=2, repeat=0)
    for fold in range(4):
        own, rest = tested_in == fold, tested_in != fold
        oracle = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Shrunk())
        oracle.fit(FEATURES[rest].astype(np.float64), LABELS[rest])
        np.testing.assert_allclose(softmax(found.logits, axis=1)[own], oracle.predict_proba(FEATURES[own]), atol=1e-4)
        differences = FEATURES[own][:, None] - oracle.means_
        squares = np.einsum("nkd,de,nke->nk", differences, np.linalg.inv(oracle.covariance_), differences)
        np.testing.assert_allclose(found.distances[own], np.sqrt(squares.min(axis=1)), rtol=1e-3)


def test_a_class_without_images_is_never_the_answer() -> None:
    found = discriminate_out_of_fold(FEATURES, LABELS, classes=4)
    assert (softmax(found.logits, axis=1)[:, 3] == 0).all()
    assert np.isfinite(found.distances).all()


def test_long_features_are_shortened_and_keep_their_distances() -> None:
    assert (shorten(FEATURES) == FEATURES).all()
    long = np.abs(RNG.normal(size=(20, 1280))).astype(np.float32)
    short = shorten(long)
    assert short.shape == (20, MOST_FEATURES)
    ratios = np.linalg.norm(short[1:] - short[0], axis=1) / np.linalg.norm(long[1:] - long[0], axis=1)
    np.testing.assert_allclose(ratios, 1.0, atol=0.15)
