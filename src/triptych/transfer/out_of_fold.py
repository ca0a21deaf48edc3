"""Out-of-fold probabilities: each image is classified by heads that were not trained on it or on its group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.folds.drawing import draw_folds
from triptych.networks.minibatches import Examples, Indices, Rows
from triptych.transfer.heads import train_head

if TYPE_CHECKING:
    from triptych.config.trainers import TransferConfig

# Returns the probabilities of rows, (n, classes).
Predict = Callable[[Any], NDArray[np.floating[Any]]]
# Trains on examples with a seed.
Fit = Callable[[Examples, int], Predict]


def predict_out_of_fold(
    fit: Fit,
    features: Rows,
    labels: Indices,
    *,
    classes: int,
    folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
    groups: Indices | None = None,
) -> NDArray[np.float32]:
    """Return the out-of-fold probabilities of images, (n, classes) float32, mean over the repetitions.

    Args:
        fit: trains on the other folds, such as `fit_head`; called folds * repeats times.
        features: n rows, such as stored embeddings (n, dimension) float32.
        labels: (n,) int64; each class should be in as many groups as there are folds.
        classes: number of classes.
        folds: number of folds.
        repeats: number of repetitions, each with other folds.
        seed: of the folds; the seed of a training is the number of its repetition.
        groups: (n,) int64, images of one group are in one fold; None if every image stands alone.

    >>> features, labels = np.repeat(np.eye(2, dtype=np.float32), 6, axis=0), np.repeat([0, 1], 6)
    >>> def fit(train, seed):
    ...     return lambda rows: rows
    >>> predict_out_of_fold(fit, features, labels, classes=2, folds=3)[[0, -1]]
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    total = np.zeros((len(labels), classes), dtype=np.float64)
    for repeat in range(repeats):
        tested_in = draw_folds(labels, groups, folds, seed=seed, repeat=repeat)
        for fold in range(folds):
            test, rest = np.flatnonzero(tested_in == fold), np.flatnonzero(tested_in != fold)
            predict = fit(Examples(features[rest], labels[rest]), repeat)
            total[test] += predict(features[test])
    return (total / repeats).astype(np.float32)


def fit_head(settings: TransferConfig, classes: int, dropout: float = 0.0) -> Fit:
    """Return what trains a head on stored embeddings for `predict_out_of_fold`: all epochs, without a validation set.

    Args:
        settings: the section `transfer` of the configuration.
        classes: number of classes.
        dropout: probability of dropping an input of the layer.
    """
    settings = settings.model_copy(update={"patience": 0, "keep_best_epoch": False})

    def fit(train: Examples, seed: int) -> Predict:
        head = train_head(
            settings, train, None, classes=classes, dropout=dropout, seed=seed, on_epoch=lambda metrics: None
        )
        return head.predict_proba

    return fit
