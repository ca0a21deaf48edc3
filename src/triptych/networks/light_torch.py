"""PyTorch without importing its compiler, which costs seconds: layers, the optimizer, and their state as arrays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.sgd import sgd

from triptych.networks.initialisation import initialise_layers


class GradientDescent:
    """Stochastic gradient descent with momentum and weight decay: the steps of `torch.optim.SGD`, to the bit.

    It calls the function behind that class. To make one of the class imports PyTorch's compiler, which takes longer
    than many a network of this package trains.

    Attributes:
        state: what is remembered of each parameter: its "momentum_buffer" from the first step with momentum on.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, fused: bool) -> None:
        """Take over the parameters.

        Args:
            parameters: to be changed in place.
            fused: take a step by one call instead of some for each parameter; the results differ by rounding.
        """
        self.parameters = list(parameters)
        self.fused = fused
        self.learning_rate, self.momentum, self.weight_decay = 0.0, 0.0, 0.0
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)

    def set_options(self, learning_rate: float, momentum: float, weight_decay: float) -> None:
        """Set the step size, the momentum coefficient and the L2 coefficient that is added to the gradient."""
        self.learning_rate, self.momentum, self.weight_decay = learning_rate, momentum, weight_decay

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take one step against the gradients."""
        remembered = [self.state[parameter] for parameter in self.parameters] if self.momentum else []
        buffers = [state.get("momentum_buffer") for state in remembered]
        sgd(
            list[Tensor](self.parameters),
            [parameter.grad for parameter in self.parameters if parameter.grad is not None],
            buffers,
            foreach=False,
            fused=self.fused,
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        for state, buffer in zip(remembered, buffers, strict=True):
            state["momentum_buffer"] = buffer


def hold_weights(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear layer whose parameters are the given tensors, not copies.

    Nothing is drawn, so PyTorch's global generator stays as it is. `torch.nn.utils.skip_init` would give the same
    behind seconds of imports, as it empties its parameters by code that belongs to PyTorch's compiler.

    Args:
        weight: (outputs, inputs), of any number format.
        bias: (outputs,), of the same.
    """
    outputs, inputs = weight.shape
    linear = nn.Linear(inputs, outputs, device="meta")
    linear.weight, linear.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias.contiguous())
    return linear


State = dict[str, NDArray[np.floating[Any]]]


def copy_state(network: nn.Module, optimizer: GradientDescent | torch.optim.SGD) -> State:
    """Return copies of the parameters that are trained and of their momentum, where there is any."""
    state: State = {}
    for name, parameter in _list_trained(network):
        state[name] = parameter.detach().cpu().numpy().copy()
        if (buffer := optimizer.state[parameter].get("momentum_buffer")) is not None:
            state[f"momentum of {name}"] = buffer.cpu().numpy().copy()
    return state


@torch.no_grad()
def restore_state(network: nn.Module, optimizer: GradientDescent | torch.optim.SGD, state: State) -> None:
    """Take back what `copy_state` returned."""
    for name, parameter in _list_trained(network):
        parameter.copy_(torch.from_numpy(state[name]))
        momentum = state.get(f"momentum of {name}")
        # Ordered in memory like the parameter, as the optimizer itself makes it: the same bits after the next step.
        buffer = torch.empty_like(parameter).copy_(torch.from_numpy(momentum)) if momentum is not None else None
        optimizer.state[parameter] = {"momentum_buffer": buffer}


def _list_trained(network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]


def build_linear(dimension: int, classes: int, rng: np.random.Generator) -> nn.Linear:
    """Return a linear layer with the initial weights of `torch.nn.Linear`, drawn from `rng`."""
    [(weight, bias)] = initialise_layers((dimension, classes), "uniform_fan_in", "float32", rng)
    return hold_weights(torch.from_numpy(weight), torch.from_numpy(bias))
