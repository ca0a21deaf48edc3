from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.config.trainers import MLPConfig
from triptych.networks.initialisation import initialise_layers
from triptych.networks.minibatches import Examples, inplace_draw_mask, shuffle_minibatches
from triptych.networks.numpy_functions import ACTIVATIONS, LOSSES
from triptych.networks.numpy_mlp import Dropout, NumpyMLP
from triptych.networks.torch_mlp import CRITERIA, TARGETS, TorchMLP
from triptych.training.epochs import EpochMetrics
from triptych.training.mlp import train_mlp

train_numpy_mlp, train_torch_mlp = (partial(train_mlp, kind) for kind in ("numpy_mlp", "torch_mlp"))

EVERY_NETWORK = [
    pytest.param(activation, loss, reduction, hidden, id=f"{activation}-{loss}-{reduction}-{len(hidden)}")
    for activation in ACTIVATIONS
    for loss, reduction in CRITERIA
    for hidden in ((), (5,), (5, 4), (4, 5, 3))
]


def build(activation: str, loss: str, reduction: str, hidden: tuple[int, ...], seed: int = 3) -> NumpyMLP:
    rng = np.random.default_rng(seed)
    layers = initialise_layers((6, *hidden, 3), "uniform_fan_in", "float64", rng)
    return NumpyMLP(layers, activation, loss, reduction)


def draw_batch(rows: int = 7, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 6)), rng.integers(0, 3, size=rows)


def one_hot(labels: np.ndarray) -> np.ndarray:
    encoded: np.ndarray = np.eye(3)[labels]
    return encoded


def mean_loss(network: NumpyMLP, x: np.ndarray, labels: np.ndarray) -> float:
    """The loss whose gradient is taken, written down anew."""
    outputs = network.predict_outputs(x)
    if network.names["loss"] == "cross_entropy":
        return float(-np.log(outputs[np.arange(len(labels)), labels]).mean())
    squares = np.square(outputs - one_hot(labels))
    return float((squares.sum(axis=1) if network.names["loss_reduction"] == "sum" else squares.mean(axis=1)).mean())


@pytest.mark.parametrize(("activation", "loss", "reduction", "hidden"), EVERY_NETWORK)
def test_the_gradient_is_that_of_central_differences(
    activation: str, loss: str, reduction: str, hidden: tuple[int, ...]
) -> None:
    network = build(activation, loss, reduction, hidden)
    x, labels = draw_batch()
    gradients = network.differentiate(x, one_hot(labels))
    step = 1e-6
    for layer, layer_gradients in zip(network.layers, gradients, strict=True):
        for parameter, gradient in zip(layer, layer_gradients, strict=True):
            numeric = np.empty_like(parameter)
            for position in np.ndindex(parameter.shape):
                kept = parameter[position]
                parameter[position] = kept + step
                above = mean_loss(network, x, labels)
                parameter[position] = kept - step
                numeric[position] = (above - mean_loss(network, x, labels)) / (2 * step)
                parameter[position] = kept
            assert np.linalg.norm(gradient - numeric) <= 1e-6 * max(float(np.linalg.norm(numeric)), 1e-3)


def mean_loss_when_dropped(network: NumpyMLP, x: np.ndarray, labels: np.ndarray, dropout: Dropout) -> float:
    outputs = network.forward(x, dropout)[-1]
    return float(-np.log(outputs[np.arange(len(labels)), labels]).mean())


def test_the_gradient_with_dropout_is_that_of_central_differences() -> None:
    rng = np.random.default_rng(0)
    for activation in ACTIVATIONS:
        network = build(activation, "cross_entropy", "sum", (5, 4))
        x, labels = draw_batch()
        masks = [np.empty((len(x), size)) for size in (5, 4)]
        for mask in masks:
            inplace_draw_mask(mask, 0.4, rng)
        dropout = Dropout(0.6, masks)
        weight, gradient = network.layers[0][0], network.differentiate(x, one_hot(labels), dropout)[0][0]
        numeric = np.empty_like(weight)
        for position in np.ndindex(weight.shape):
            kept = weight[position]
            weight[position] = kept + 1e-6
            above = mean_loss_when_dropped(network, x, labels, dropout)
            weight[position] = kept - 1e-6
            numeric[position] = (above - mean_loss_when_dropped(network, x, labels, dropout)) / 2e-6
            weight[position] = kept
        assert np.linalg.norm(gradient - numeric) <= 1e-6 * float(np.linalg.norm(numeric))


@pytest.mark.parametrize(("activation", "loss", "reduction", "hidden"), EVERY_NETWORK)
def test_the_gradient_is_that_of_autograd(activation: str, loss: str, reduction: str, hidden: tuple[int, ...]) -> None:
    network = build(activation, loss, reduction, hidden)
    twin = TorchMLP(network.layers, activation, loss, reduction)
    x, labels = draw_batch()
    outputs = twin.network(torch.from_numpy(x))
    targets = TARGETS[loss](torch.from_numpy(labels), outputs)
    CRITERIA[loss, reduction](outputs, targets).backward()
    linears = [module for module in twin.network if isinstance(module, torch.nn.Linear)]
    for (weight, bias), linear in zip(network.differentiate(x, one_hot(labels)), linears, strict=True):
        assert linear.weight.grad is not None
        assert linear.bias.grad is not None
        np.testing.assert_allclose(weight, linear.weight.grad.numpy(), rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(bias, linear.bias.grad.numpy(), rtol=1e-10, atol=1e-14)


@settings(max_examples=25, deadline=None)
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
    network = train_numpy_mlp(config, examples, examples, classes=3, seed=0, on_epoch=metrics.append)
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
    for train, curve in zip((train_numpy_mlp, train_torch_mlp), curves, strict=True):
        train(config, examples, examples, classes=3, seed=1, on_epoch=curve.append)
        assert curve[-1].train_accuracy > 0.95
        assert curve[-1].train_loss < curve[0].train_loss / 5
    losses = [[entry.train_loss for entry in curve] for curve in curves]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_the_reported_squared_error_is_averaged_over_outputs_whatever_the_gradient_does() -> None:
    x, labels = draw_batch(20)
    for reduction in ("sum", "mean"):
        network = build("sigmoid", "squared_error", reduction, (4,))
        loss, accuracy = network.measure(Examples(x, labels))
        outputs = network.predict_outputs(x)
        assert loss == pytest.approx(np.square(outputs - one_hot(labels)).mean(), rel=1e-12)
        assert accuracy == (outputs.argmax(axis=1) == labels).mean()


def test_every_example_is_in_one_batch_of_an_epoch() -> None:
    batches = list(shuffle_minibatches(23, 5, np.random.default_rng(0)))
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert sorted(np.concatenate(batches).tolist()) == list(range(23))


def test_a_sigmoid_does_not_overflow() -> None:
    z = np.array([[-1e4, 0.0, 1e4]], dtype=np.float32)
    with np.errstate(all="raise"):
        ACTIVATIONS["sigmoid"].inplace_apply(z)
    np.testing.assert_array_equal(z, [[0.0, 0.5, 1.0]])
