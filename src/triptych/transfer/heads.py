"""A new last layer on embeddings: trained by gradient descent, or solved for as logistic regression."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from triptych.errors import ConfigError
from triptych.networks.classifiers.logistic_regression import list_logits
from triptych.networks.head import Head
from triptych.networks.light_torch import build_linear, hold_weights
from triptych.networks.minibatches import Examples
from triptych.training.checkpoints import Checkpoint, CheckpointFile
from triptych.training.epochs import EpochMetrics, OnEpoch
from triptych.training.loop import fit_network

if TYPE_CHECKING:
    from triptych.config.trainers import TransferConfig

# Steps of the solver, at most; a few hundred are usual.
MAX_ITERATIONS = 2000
ITERATIONS = "iterations"


def fit_logistic_head(
    settings: TransferConfig,
    train: Examples,
    validation: Examples | None,
    *,
    classes: int,
    on_epoch: OnEpoch,
    checkpoint: CheckpointFile | None = None,
) -> Head:
    """Return the layer with the smallest penalised cross-entropy, as L-BFGS finds it from zero weights.

    Nothing is drawn, so that every seed gives the same layer. It is measured and reported once, as one epoch.

    Args:
        settings: weight decay.
        train: embeddings (n, dimension) and labels (n,); all are read into memory, as float64.
        validation: the same for the part on which choices are made, or None.
        classes: number of classes.
        on_epoch: called once, with the metrics of the solution.
        checkpoint: where to store and look for the solution; None stores nothing.

    Raises:
        CheckpointError: the checkpoint belongs to another training.
        ConfigError: the training part lacks a class.
    """
    if checkpoint and (found := checkpoint.load()):
        head = _restore_head(found)
        metrics = found.curve[0]
    else:
        started = time.perf_counter()
        head = _solve(settings, train, classes)
        seconds = time.perf_counter() - started
        parts = (*head.measure(train), seconds, *(head.measure(validation) if validation is not None else ()))
        metrics = EpochMetrics(1, 1, *parts)
        if checkpoint:
            state = head.copy_state() | {ITERATIONS: np.asarray(float(head.iterations))}
            checkpoint.save(Checkpoint((metrics,), {}, state, {}))
    on_epoch(metrics)
    return head


def inverse_penalty(weight_decay: float, images: int) -> float:
    """Return scikit-learn's C for an L2 coefficient: it sums the loss over images where the coefficient's is a mean.

    Without weight decay C is 1, scikit-learn's own choice: unpenalised weights grow without end where a plane
    parts the classes, as it does in the embeddings of most small sets.

    >>> inverse_penalty(0.01, 200), inverse_penalty(0.0, 200)
    (0.5, 1.0)
    """
    return 1.0 / (weight_decay * images) if weight_decay else 1.0


def _solve(settings: TransferConfig, train: Examples, classes: int) -> Head:
    missing = set(range(classes)) - set(np.unique(train.labels).tolist())
    if missing:
        raise ConfigError(
            f"transfer.head = 'lbfgs' needs images of every class to train on, but class number {min(missing)} has "
            "none: use 'sgd'"
        )
    # In single precision the solver stops early, where differences of the loss are lost in rounding.
    features = np.asarray(train.features[:], dtype=np.float64)
    regression = LogisticRegression(
        C=inverse_penalty(settings.weight_decay, len(train)), solver="lbfgs", max_iter=MAX_ITERATIONS
    )
    with warnings.catch_warnings():
        # Then `iterations` is the maximum, which a reader of the run sees.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(features, train.labels)
    return _build_head(*list_logits(regression), int(regression.n_iter_.max()))


def _build_head(weight: NDArray[Any], bias: NDArray[Any], iterations: int) -> Head:
    linear = hold_weights(torch.from_numpy(weight).float(), torch.from_numpy(bias).float())
    return Head(linear, iterations=iterations)


def _restore_head(found: Checkpoint) -> Head:
    return _build_head(found.network["weight"], found.network["bias"], int(found.network[ITERATIONS]))


def train_head(
    settings: TransferConfig,
    train: Examples,
    validation: Examples | None,
    *,
    classes: int,
    dropout: float,
    seed: int,
    on_epoch: OnEpoch,
    checkpoint: CheckpointFile | None = None,
) -> Head:
    """Train a new last layer with cross-entropy on logits.

    `settings.head` says how: "sgd" by stochastic gradient descent with momentum, "lbfgs" by logistic regression.

    Args:
        settings: steps and batches.
        train: embeddings (n, dimension) and labels (n,).
        validation: the same for the part on which choices are made, or None.
        classes: number of classes.
        dropout: probability with which an input of the layer is dropped by gradient descent.
        seed: of its initial weights, the order of the batches and the dropout.
        on_epoch: called with the metrics of each epoch.
        checkpoint: where to store and look for the state; None stores nothing.

    Raises:
        ConfigError: something is to be chosen on validation, but there is no validation part.
        DivergenceError: a step or the training loss is no finite number.
    """
    if settings.head == "lbfgs":
        return fit_logistic_head(settings, train, validation, classes=classes, on_epoch=on_epoch, checkpoint=checkpoint)
    rng = np.random.default_rng(seed)
    head = Head(build_linear(train.features.shape[1], classes, rng), dropout)
    fit_network(head, settings, train, validation, rng=rng, on_epoch=on_epoch, checkpoint=checkpoint)
    return head
