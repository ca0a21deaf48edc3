"""The steps of PyTorch's own optimizer, to the bit, and none of its imports."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from triptych.networks.light_torch import (
    GradientDescent,
    build_linear,
    copy_state,
    differentiate_cross_entropy,
    mean_cross_entropy,
    restore_state,
    wrap_weights,
)


def draw_layer() -> nn.Linear:
    generator = torch.Generator().manual_seed(0)
    return wrap_weights(torch.randn(5, 7, generator=generator), torch.randn(5, generator=generator))


def take_step(network: nn.Linear, optimizer: GradientDescent | torch.optim.SGD, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer.zero_grad()
    network(torch.randn(11, 7, generator=generator)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_the_steps_are_those_of_pytorchs_optimizer_to_the_bit(
    *, fused: bool, momentum: float, weight_decay: float
) -> None:
    network, expected = draw_layer(), draw_layer()
    ours = GradientDescent(network.parameters(), fused=fused)
    theirs = torch.optim.SGD(
        expected.parameters(), lr=0.0, momentum=momentum, weight_decay=weight_decay, fused=fused, foreach=False
    )
    for step in range(6):
        learning_rate = 0.3 / (step + 1)
        ours.set_options(learning_rate, momentum, weight_decay)
        theirs.param_groups[0]["lr"] = learning_rate
        take_step(network, ours, step)
        take_step(expected, theirs, step)
        got, wanted = copy_state(network, ours), copy_state(expected, theirs)
        assert got.keys() == wanted.keys()
        assert ("momentum of weight" in got) == (momentum > 0.0)
        for name, array in got.items():
            assert array.tobytes() == wanted[name].tobytes(), name
        assert not torch.equal(network.weight, draw_layer().weight)


@pytest.mark.parametrize(("images", "classes", "inputs"), [(1, 2, 5), (32, 2, 1280), (7, 3, 576), (100, 120, 65)])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_by_hand_are_those_of_autograd_to_the_bit(
    images: int, classes: int, inputs: int, *, weighted: bool
) -> None:
    rng = np.random.default_rng(images)
    x = torch.from_numpy(rng.normal(size=(images, inputs)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, classes, images))
    weights = rng.random(images) if weighted else None
    expected, got = (build_linear(inputs, classes, np.random.default_rng(0)) for _ in range(2))
    loss = mean_cross_entropy(expected(x), labels, weights)
    loss.backward()
    assert differentiate_cross_entropy(got, x, labels, weights).item() == pytest.approx(loss.item(), rel=1e-5)
    for one, other in zip(got.parameters(), expected.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert one.grad.numpy().tobytes() == other.grad.numpy().tobytes()


def test_what_is_restored_goes_on_in_the_same_bits() -> None:
    undisturbed = draw_layer()
    optimizer = GradientDescent(undisturbed.parameters(), fused=True)
    optimizer.set_options(0.1, 0.9, 0.01)
    for step in range(3):
        take_step(undisturbed, optimizer, step)
    state = copy_state(undisturbed, optimizer)
    take_step(undisturbed, optimizer, 3)
    restored = draw_layer()
    other = GradientDescent(restored.parameters(), fused=True)
    other.set_options(0.1, 0.9, 0.01)
    restore_state(restored, other, state)
    take_step(restored, other, 3)
    assert torch.equal(restored.weight, undisturbed.weight)


def test_a_layer_holds_its_weights_and_draws_nothing() -> None:
    before = torch.get_rng_state()
    weight, bias = torch.zeros(2, 3, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    linear = wrap_weights(weight.T.contiguous().T, bias)
    assert torch.equal(torch.get_rng_state(), before)
    assert (linear.in_features, linear.out_features) == (3, 2)
    assert linear.weight.is_contiguous()
    assert torch.equal(linear(torch.ones(1, 3, dtype=torch.float64)), bias[None])
    assert all(parameter.requires_grad for parameter in linear.parameters())
