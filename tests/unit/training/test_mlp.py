from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.mlps import DEMANDING, MLPS, NUMPY_MLP, TORCH_MLP, draw_examples, draw_weighted, flatten, one_hot
from triptych.config.trainers import MLPConfig
from triptych.networks.minibatches import Examples
from triptych.networks.numpy_functions import LOSSES
from triptych.training.epochs import EpochMetrics
from triptych.training.mlp import train_mlp


@settings(max_examples=25)
@given(
    rows=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    hidden=st.lists(st.integers(1, 6), max_size=3).map(tuple),
    loss=st.sampled_from(sorted(LOSSES)),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_any_shape_trains_and_gives_probabilities(
    rows: int, batch_size: int, hidden: tuple[int, ...], loss: str, dtype: str
) -> None:
    rng = np.random.default_rng(rows)
    examples = Examples(rng.normal(size=(rows, 4)), rng.integers(0, 3, size=rows))
    config = MLPConfig.model_validate(
        {"hidden_units": hidden, "batch_size": batch_size, "epochs": 2, "dtype": dtype, "loss": loss}
    )
    metrics: list[EpochMetrics] = []
    network = train_mlp(NUMPY_MLP, config, examples, examples, classes=3, seed=0, on_epoch=metrics.append)
    probabilities = network.predict_proba(examples.features)
    assert probabilities.dtype == np.dtype(dtype)
    assert probabilities.shape == (rows, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    assert [entry.epoch for entry in metrics] == [1, 2]
    assert metrics[0].train_loss == metrics[0].val_loss


def test_both_networks_learn_and_report_the_same_curve() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, size=150)
    examples = Examples(one_hot(labels) * 2 + rng.normal(size=(150, 3)) * 0.3, labels)
    config = MLPConfig(hidden_units=(8,), learning_rate=0.5, batch_size=10, epochs=15, loss="cross_entropy")
    curves: list[list[EpochMetrics]] = [[], []]
    for network, curve in zip((NUMPY_MLP, TORCH_MLP), curves, strict=True):
        train_mlp(network, config, examples, examples, classes=3, seed=1, on_epoch=curve.append)
        assert curve[-1].train_accuracy > 0.95
        assert curve[-1].train_loss < curve[0].train_loss / 5
    losses = [[entry.train_loss for entry in curve] for curve in curves]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


PLAIN = {"loss": "squared_error"}
WITH_MOMENTUM = {"loss": "cross_entropy", "momentum": 0.9, "weight_decay": 1e-3, "schedule": "cosine"}


@pytest.mark.parametrize(
    ("draw", "settings"),
    [
        (draw_examples, PLAIN),
        (draw_examples, {"loss": "cross_entropy", "weight_decay": 1e-3}),
        (draw_examples, WITH_MOMENTUM),
        (draw_examples, {**PLAIN, "momentum": 0.5, "dropout": 0.3, "input_dropout": 0.2, "activation": "relu"}),
        (draw_weighted, PLAIN),
        (draw_weighted, WITH_MOMENTUM),
    ],
)
def test_the_twins_agree_to_a_billionth_after_a_thousand_steps(
    draw: Callable[..., Examples], settings: dict[str, Any]
) -> None:
    config = MLPConfig.model_validate(
        {"hidden_units": (8, 5), "batch_size": 10, "epochs": 100, "dtype": "float64", **settings}
    )
    examples = draw(100, dtype="float64")  # ten steps an epoch
    curves: list[list[EpochMetrics]] = [[], []]
    ours, theirs = (
        flatten(train_mlp(network, config, examples, classes=3, seed=5, on_epoch=curve.append))
        for network, curve in zip(MLPS, curves, strict=True)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    assert curves[0][-1].train_loss == pytest.approx(curves[1][-1].train_loss, rel=1e-9)


@pytest.mark.parametrize("network", MLPS)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(network: str) -> None:
    one, same, other = (
        flatten(train_mlp(network, DEMANDING, draw_examples(), draw_examples(40, 1), classes=3, seed=seed))
        for seed in (9, 9, 10)
    )
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()
