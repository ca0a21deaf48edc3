"""Train the head, a new last layer on embeddings, by gradient descent or as logistic regression."""

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
from triptych.networks.classifiers.logistic_regression import extract_layer, inverse_penalty
from triptych.networks.head import Head
from triptych.networks.light_torch import build_linear, wrap_weights
from triptych.networks.minibatches import Examples
from triptych.training.checkpoints import Checkpoint, CheckpointFile
from triptych.training.epochs import EpochMetrics, OnEpoch
from triptych.training.loop import fit_network
from triptych.transfer.standardisation import Standardisation

if TYPE_CHECKING:
    from triptych.config.trainers import TransferConfig

# Maximum iterations of the solver; it usually takes a few hundred.
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
    """Return the head that minimises the penalised cross-entropy, found by L-BFGS starting from zero weights.

    Nothing is random: every seed gives the same head. The solution is reported as a single epoch.

    Args:
        settings: the weight decay.
        train: embeddings (n, dimension), labels (n,), and perhaps weights (n,); all are read into memory, as float64.
        validation: the same for the validation set, or None.
        classes: number of classes.
        on_epoch: called once, with the metrics of the solution.
        checkpoint: file to restore the solution from or save it to; None saves nothing.

    Raises:
        CheckpointError: the checkpoint belongs to another training.
        ConfigError: a class has no image in the training set.
    """
    found = checkpoint.load() if checkpoint else None
    if found:
        head, metrics = _restore_head(found), found.curve[0]
    else:
        started = time.perf_counter()
        head = _solve(settings, train, classes)
        seconds = time.perf_counter() - started
        on_validation = head.measure(validation) if validation is not None else ()
        metrics = EpochMetrics(1, 1, *head.measure(train)[:2], seconds, *on_validation)
        if checkpoint:
            state = head.copy_state() | {ITERATIONS: np.asarray(float(head.iterations))}
            checkpoint.save(Checkpoint((metrics,), {}, state, {}))
    on_epoch(metrics)
    return head


def _solve(settings: TransferConfig, train: Examples, classes: int) -> Head:
    missing = set(range(classes)) - set(np.unique(train.labels).tolist())
    if missing:
        raise ConfigError(
            f"transfer.head = 'lbfgs' needs training images of every class, but class number {min(missing)} has none: "
            "use 'sgd'"
        )
    # In single precision the solver stops too early: changes of the loss are lost to rounding.
    features = np.asarray(train.features[:], dtype=np.float64)
    regression = LogisticRegression(
        C=inverse_penalty(settings.weight_decay, len(train), classes), solver="lbfgs", max_iter=MAX_ITERATIONS
    )
    with warnings.catch_warnings():
        # No warning is needed: the run shows that `iterations` reached the maximum.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(features, train.labels, sample_weight=train.weights)
    return _build_head(*extract_layer(regression), int(regression.n_iter_.max()))


def _build_head(weight: NDArray[Any], bias: NDArray[Any], iterations: int) -> Head:
    linear = wrap_weights(torch.from_numpy(weight).float(), torch.from_numpy(bias).float())
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

    `settings.head` chooses the method: "sgd" is gradient descent with momentum, "lbfgs" is logistic regression.

    Args:
        settings: the section `transfer` of the configuration.
        train: embeddings (n, dimension), labels (n,), and perhaps weights (n,).
        validation: the same for the validation set, or None.
        classes: number of classes.
        dropout: probability of dropping an input of the layer; only "sgd" uses it.
        seed: seed of the initial weights, the order of the batches and the dropout.
        on_epoch: called with the metrics of each epoch.
        checkpoint: file to restore the state from and save it to; None saves nothing.

    Raises:
        CheckpointError: the checkpoint belongs to another training.
        ConfigError: an epoch is to be chosen without a validation set, or "lbfgs" lacks images of a class.
        DivergenceError: a step or the training loss is not finite.
    """
    if settings.head == "lbfgs":
        return fit_logistic_head(settings, train, validation, classes=classes, on_epoch=on_epoch, checkpoint=checkpoint)
    rng = np.random.default_rng(seed)
    head = Head(build_linear(train.features.shape[1], classes, rng), dropout)
    fit_network(head, settings, train, validation, rng=rng, on_epoch=on_epoch, checkpoint=checkpoint)
    return head


def train_standardised_head(
    settings: TransferConfig, train: Examples, validation: Examples | None, **options: Any
) -> Head:
    """Train a head like `train_head`, on embeddings with mean 0 and variance 1 on the training images.

    Returns:
        The head that computes the same on the embeddings as they are.
    """
    standardisation = Standardisation.fit(train.features)
    chosen = standardisation.of(validation) if validation is not None else None
    return standardisation.undo(train_head(settings, standardisation.of(train), chosen, **options))
