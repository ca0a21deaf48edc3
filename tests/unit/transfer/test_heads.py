from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import nn

from helpers.mlps import StoppedError, draw_weighted, stop_after
from triptych.config.trainers import LogisticRegressionConfig, TransferConfig
from triptych.errors import ConfigError
from triptych.networks.classifiers.logistic_regression import LogisticRegression as PixelRegression
from triptych.networks.head import Head
from triptych.networks.light_torch import build_linear
from triptych.networks.minibatches import Examples
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import EpochMetrics
from triptych.transfer.heads import train_head


def test_a_head_continues_from_its_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    settings = TransferConfig(epochs=5, batch_size=7)
    checkpoint = CheckpointFile(tmp_path / "state.npz", "head")
    given_data: dict[str, Any] = {"classes": 3, "dropout": 0.5, "seed": 0}
    expected = train_head(settings, draw_weighted(), None, **given_data, on_epoch=lambda metrics: None)
    with pytest.raises(StoppedError):
        train_head(settings, draw_weighted(), None, **given_data, on_epoch=stop_after(3), checkpoint=checkpoint)
    head = train_head(
        settings, draw_weighted(), None, **given_data, on_epoch=lambda metrics: None, checkpoint=checkpoint
    )
    assert head.linear.weight.detach().numpy().tobytes() == expected.linear.weight.detach().numpy().tobytes()


@pytest.mark.parametrize("weights", [None, np.array([0.0, 0.5, 0.5, 1.0, 1.0, 1.5, 2.5])], ids=["alike", "weighted"])
@pytest.mark.parametrize(
    ("dropout", "momentum", "weight_decay", "schedule"),
    [(0.0, 0.9, 0.0, "constant"), (0.5, 0.0, 0.1, "linear"), (0.2, 0.9, 0.01, "linear")],
)
def test_the_head_is_torchs_own_training_to_the_bit(
    dropout: float, momentum: float, weight_decay: float, schedule: str, weights: np.ndarray | None
) -> None:
    """On three batches, the last of which is a single image."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(7, 5)).astype(np.float32), np.array([0, 1, 0, 1, 0, 1, 1])
    metrics: list[EpochMetrics] = []
    fields: dict[str, Any] = {"momentum": momentum, "weight_decay": weight_decay}
    settings = TransferConfig(epochs=3, batch_size=3, schedule=schedule, **fields)
    examples = Examples(features, labels, weights)
    head = train_head(settings, examples, None, classes=2, dropout=dropout, seed=4, on_epoch=metrics.append)
    factors = torch.ones(7) if weights is None else torch.from_numpy(weights).float()

    def measure(rows: np.ndarray, mask: float | np.ndarray = 1.0) -> torch.Tensor:
        logits = expected(torch.from_numpy(features[rows] * mask))
        return (
            nn.functional.cross_entropy(logits, torch.from_numpy(labels[rows]), reduction="none") * factors[rows]
        ).mean()

    rng = np.random.default_rng(4)
    expected = build_linear(5, 2, rng)
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.01, **fields)
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = 0.01 * (1.0 - epoch / 3 if schedule == "linear" else 1.0)
        order = rng.permutation(7)
        for start in range(0, 7, 3):
            rows = order[start : start + 3]
            mask = np.ones((len(rows), 5), dtype=np.float32)
            if dropout:
                mask = (rng.random(mask.shape, dtype=np.float32) >= dropout) * np.float32(1.0 / (1.0 - dropout))
            optimizer.zero_grad()
            measure(rows, mask).backward()
            optimizer.step()
    for got, wanted in zip(head.linear.parameters(), expected.parameters(), strict=True):
        assert got.detach().numpy().tobytes() == wanted.detach().numpy().tobytes()
    assert metrics[-1].train_loss == pytest.approx(measure(np.arange(7)).item(), rel=1e-6)
    assert metrics[-1].train_loss < metrics[0].train_loss


def make_examples(classes: int, images: int = 60, *, weighted: bool = False) -> Examples:
    """Clouds around points that lie apart."""
    rng = np.random.default_rng(classes)
    labels = np.arange(images) % classes
    centres = np.random.default_rng(0).normal(scale=2.0, size=(classes, 5))
    features = (centres[labels] + rng.normal(size=(images, 5))).astype(np.float32)
    weights = np.linspace(0.0, 2.0, images) if weighted else None
    return Examples(features, labels, weights)


def solve(
    classes: int, checkpoint: CheckpointFile | None = None, *, weighted: bool = False, **fields: Any
) -> tuple[Head, list[EpochMetrics]]:
    settings = TransferConfig(head="lbfgs", **fields)
    train, validation = make_examples(classes, weighted=weighted), make_examples(classes, 30)
    metrics: list[EpochMetrics] = []
    options: dict[str, Any] = {"classes": classes, "dropout": 0.5, "on_epoch": metrics.append}
    return train_head(settings, train, validation, seed=1, checkpoint=checkpoint, **options), metrics


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("classes", "weight_decay", "penalty"), [(2, 0.0, 1.0), (3, 0.0, 1.0), (2, 0.01, 2 / 0.6), (3, 0.01, 1 / 0.6)]
)
def test_the_logistic_head_is_scikit_learns(
    classes: int, weight_decay: float, penalty: float, *, weighted: bool
) -> None:
    head, metrics = solve(classes, weight_decay=weight_decay, weighted=weighted)
    train, validation = make_examples(classes, weighted=weighted), make_examples(classes, 30)
    features, held_out = np.asarray(train.features), np.asarray(validation.features)
    solver = LogisticRegression(C=penalty, max_iter=2000)
    expected = solver.fit(features.astype(np.float64), train.labels, sample_weight=train.weights)
    np.testing.assert_allclose(head.predict_proba(held_out), expected.predict_proba(held_out), atol=1e-5)
    assert len(metrics) == metrics[0].epoch == metrics[0].epochs == 1
    assert metrics[0].val_accuracy == pytest.approx(expected.score(held_out, validation.labels))
    assert metrics[0].val_log_loss == metrics[0].val_loss
    assert metrics[0].val_loss == pytest.approx(log_loss(validation.labels, expected.predict_proba(held_out)), rel=1e-4)
    assert head.iterations == expected.n_iter_.max()
    again, _ = solve(classes, weight_decay=weight_decay, weighted=weighted)
    np.testing.assert_array_equal(again.linear.weight.detach().numpy(), head.linear.weight.detach().numpy())


def descend(examples: Examples, classes: int, weight_decay: float) -> np.ndarray:
    """Return the logits that plain gradient descent reaches once no component of the gradient exceeds 1e-6.

    The loss is the mean cross-entropy of the softmax; the decay is that of `torch.optim.SGD`, without the biases, which
    scikit-learn does not penalise.
    """
    features = np.asarray(examples.features, dtype=np.float64)
    weight, bias = np.zeros((classes, features.shape[1])), np.zeros(classes)
    targets = np.eye(classes)[examples.labels]
    factors = 1.0 if examples.weights is None else examples.weights[:, None]
    while True:
        logits = features @ weight.T + bias
        error = (softmax(logits, axis=1) - targets) * factors / len(features)
        gradients = error.T @ features + weight_decay * weight, error.sum(axis=0)
        if max(np.abs(gradient).max() for gradient in gradients) < 1e-6:
            return logits
        weight -= 0.1 * gradients[0]
        bias -= 0.1 * gradients[1]


@pytest.mark.parametrize(("classes", "weighted"), [(2, False), (3, False), (3, True)])
def test_weight_decay_means_to_both_solvers_what_it_means_to_gradient_descent(classes: int, *, weighted: bool) -> None:
    train = make_examples(classes, weighted=weighted)
    expected = softmax(descend(train, classes, 0.1), axis=1)
    head, _ = solve(classes, weight_decay=0.1, weighted=weighted)
    features = np.asarray(train.features)
    np.testing.assert_allclose(head.predict_proba(features), expected, atol=1e-3)
    settings = LogisticRegressionConfig(weight_decay=0.1)
    panel = PixelRegression.fit(features, train.labels, classes, settings, train.weights)
    np.testing.assert_allclose(panel.predict_proba(features), expected, atol=1e-3)


def test_the_logistic_head_is_at_least_as_good_as_gradient_descents() -> None:
    _, [solved] = solve(3)
    metrics: list[EpochMetrics] = []
    options: dict[str, Any] = {"classes": 3, "dropout": 0.0, "seed": 0, "on_epoch": metrics.append}
    train_head(TransferConfig(), make_examples(3), make_examples(3, 30), **options)
    assert solved.val_accuracy is not None
    assert metrics[-1].val_accuracy is not None
    assert solved.val_accuracy >= metrics[-1].val_accuracy > 0.9


def test_a_logistic_head_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = CheckpointFile(tmp_path / "checkpoint.npz", "logistic")
    head, metrics = solve(3, checkpoint)
    monkeypatch.setattr("triptych.transfer.heads.LogisticRegression", None)
    found, same = solve(3, checkpoint)
    assert same == metrics
    assert found.iterations == head.iterations
    np.testing.assert_array_equal(found.linear.weight.detach().numpy(), head.linear.weight.detach().numpy())


def test_a_logistic_head_needs_every_class() -> None:
    examples = Examples(np.zeros((4, 2), dtype=np.float32), np.array([0, 2, 0, 2]))
    options: dict[str, Any] = {"classes": 3, "dropout": 0.0, "seed": 0, "on_epoch": lambda metrics: None}
    with pytest.raises(ConfigError, match="class number 1 has none: use 'sgd'"):
        train_head(TransferConfig(head="lbfgs"), examples, None, **options)
