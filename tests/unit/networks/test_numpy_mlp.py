from __future__ import annotations

import numpy as np
import pytest

from helpers.mlps import EVERY_NETWORK, WEIGHTS, draw_batch, draw_layers, one_hot
from triptych.networks.minibatches import Examples, inplace_draw_mask
from triptych.networks.numpy_functions import ACTIVATIONS
from triptych.networks.numpy_mlp import Dropout, NumpyMLP


def build(activation: str, loss: str, reduction: str, hidden: tuple[int, ...]) -> NumpyMLP:
    return NumpyMLP(draw_layers(hidden), activation, loss, reduction)


def mean_loss(network: NumpyMLP, x: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """The loss whose gradient is taken, written down anew."""
    outputs = network.predict_outputs(x)
    if network.names["loss"] == "cross_entropy":
        return float((-np.log(outputs[np.arange(len(labels)), labels]) * weights).mean())
    squares = np.square(outputs - one_hot(labels))
    losses = squares.sum(axis=1) if network.names["loss_reduction"] == "sum" else squares.mean(axis=1)
    return float((losses * weights).mean())


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize(("activation", "loss", "reduction", "hidden"), EVERY_NETWORK)
def test_the_gradient_is_that_of_central_differences(
    activation: str, loss: str, reduction: str, hidden: tuple[int, ...], weights: np.ndarray | None
) -> None:
    network = build(activation, loss, reduction, hidden)
    x, labels = draw_batch()
    gradients = network.differentiate(x, one_hot(labels), weights=weights)
    factors = np.ones(len(x)) if weights is None else weights
    step = 1e-6
    for layer, layer_gradients in zip(network.layers, gradients, strict=True):
        for parameter, gradient in zip(layer, layer_gradients, strict=True):
            numeric = np.empty_like(parameter)
            for position in np.ndindex(parameter.shape):
                kept = parameter[position]
                parameter[position] = kept + step
                above = mean_loss(network, x, labels, factors)
                parameter[position] = kept - step
                numeric[position] = (above - mean_loss(network, x, labels, factors)) / (2 * step)
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


def test_the_reported_squared_error_is_averaged_over_outputs_whatever_the_gradient_does() -> None:
    x, labels = draw_batch()
    for reduction in ("sum", "mean"):
        network = build("sigmoid", "squared_error", reduction, (4,))
        outputs = network.predict_outputs(x)
        losses = np.square(outputs - one_hot(labels)).mean(axis=1)
        for weights, expected in ((None, losses.mean()), (WEIGHTS, np.average(losses, weights=WEIGHTS))):
            loss, accuracy, _ = network.measure(Examples(x, labels, weights))
            assert loss == pytest.approx(expected, rel=1e-12)
            assert accuracy == (outputs.argmax(axis=1) == labels).mean()


def test_a_unit_whose_sum_overflows_is_saturated_without_a_warning() -> None:
    layer = (np.array([[3e38], [-3e38]], np.float32), np.zeros(2, np.float32))
    with np.errstate(over="raise"):
        assert NumpyMLP([layer]).predict_outputs(np.array([[2.0]])).tolist() == [[1.0, 0.0]]
