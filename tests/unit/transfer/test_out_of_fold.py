from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from triptych.config.trainers import TransferConfig
from triptych.data.folds.drawing import draw_folds
from triptych.networks.minibatches import Examples
from triptych.transfer.out_of_fold import Predict, fit_head, predict_out_of_fold

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 90)
FEATURES = (np.eye(3, 8)[LABELS] + RNG.normal(size=(90, 8))).astype(np.float32)


def test_a_head_has_the_out_of_fold_probabilities_of_scikit_learn() -> None:
    folds = PredefinedSplit(draw_folds(LABELS, None, 3, seed=4, repeat=0))
    expected = cross_val_predict(LogisticRegression(max_iter=500), FEATURES, LABELS, cv=folds, method="predict_proba")
    fit = fit_head(TransferConfig(head="lbfgs"), classes=3)
    found = predict_out_of_fold(fit, FEATURES, LABELS, classes=3, folds=3, seed=4)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_no_image_is_predicted_by_a_training_on_its_group_and_repetitions_are_averaged() -> None:
    groups = np.arange(90) // 3
    seeds: list[int] = []

    def fit(train: Examples, seed: int) -> Predict:
        trained = set(train.features[:, 0])
        seeds.append(seed)

        def predict(rows: Any) -> NDArray[np.float64]:
            assert not trained & set(rows[:, 0])
            return np.full((len(rows), 3), float(seed))

        return predict

    rows = np.repeat(groups[:, None], 2, axis=1)
    found = predict_out_of_fold(fit, rows, LABELS, classes=3, folds=5, repeats=2, groups=groups)
    assert seeds == [0] * 5 + [1] * 5
    assert (found == 0.5).all()
