from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.mlps import EVERY_NETWORK, WEIGHTS, draw_batch, draw_layers, one_hot
from triptych.networks.numpy_mlp import NumpyMLP
from triptych.networks.torch_mlp import CRITERIA, TARGETS, TorchMLP


def build(activation: str, loss: str, reduction: str, hidden: tuple[int, ...]) -> NumpyMLP:
    return NumpyMLP(draw_layers(hidden), activation, loss, reduction)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize(("activation", "loss", "reduction", "hidden"), EVERY_NETWORK)
def test_the_gradient_is_that_of_autograd(
    activation: str, loss: str, reduction: str, hidden: tuple[int, ...], weights: np.ndarray | None
) -> None:
    network = build(activation, loss, reduction, hidden)
    twin = TorchMLP(network.layers, activation, loss, reduction)
    x, labels = draw_batch()
    outputs = twin.network(torch.from_numpy(x))
    targets = TARGETS[loss](torch.from_numpy(labels), outputs)
    CRITERIA[loss, reduction](outputs, targets, weights).backward()
    gradients = network.differentiate(x, one_hot(labels), weights=weights)
    linears = [module for module in twin.network if isinstance(module, torch.nn.Linear)]
    for (weight, bias), linear in zip(gradients, linears, strict=True):
        assert linear.weight.grad is not None
        assert linear.bias.grad is not None
        np.testing.assert_allclose(weight, linear.weight.grad.numpy(), rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(bias, linear.bias.grad.numpy(), rtol=1e-10, atol=1e-14)
