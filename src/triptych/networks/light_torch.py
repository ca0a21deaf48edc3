"""Linear layers, losses and an optimizer in PyTorch, and their state as arrays, without importing PyTorch's compiler.

That import takes seconds: longer than many a training here.
"""

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
from triptych.networks.minibatches import Weights


class GradientDescent:
    """Stochastic gradient descent with momentum and weight decay, bit for bit the steps of `torch.optim.SGD`.

    It calls the function behind that class. An instance of the class would import PyTorch's compiler.

    Attributes:
        state: for each parameter its "momentum_buffer", from the first step with momentum on.

    >>> parameter = nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = GradientDescent([parameter], fused=False)
    >>> optimizer.set_options(learning_rate=0.25, momentum=0.0, weight_decay=0.0)
    >>> parameter.square().sum().backward()
    >>> optimizer.step()
    >>> parameter.item()
    0.5
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, fused: bool) -> None:
        """Keep the parameters; the learning rate is 0 until `set_options` is called.

        Args:
            parameters: changed in place by every step.
            fused: update all parameters in one call; the results differ by rounding.
        """
        self.parameters = list(parameters)
        self.fused = fused
        self.learning_rate, self.momentum, self.weight_decay = 0.0, 0.0, 0.0
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)

    def set_options(self, learning_rate: float, momentum: float, weight_decay: float) -> None:
        """Set the learning rate, the momentum, and the weight decay, an L2 term added to the gradient."""
        self.learning_rate, self.momentum, self.weight_decay = learning_rate, momentum, weight_decay

    def zero_grad(self) -> None:
        """Discard the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters by one step."""
        states = [self.state[parameter] for parameter in self.parameters] if self.momentum else []
        buffers = [state.get("momentum_buffer") for state in states]
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
        for state, buffer in zip(states, buffers, strict=True):
            state["momentum_buffer"] = buffer


def wrap_weights(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear layer whose parameters are the given tensors; they are copied only if not contiguous.

    Nothing is drawn from PyTorch's global generator. `torch.nn.utils.skip_init` would do the same, but it imports
    PyTorch's compiler.

    Args:
        weight: (outputs, inputs), of any floating-point dtype.
        bias: (outputs,), of the same dtype.

    >>> wrap_weights(torch.zeros(2, 3), torch.ones(2))(torch.ones(1, 3)).tolist()
    [[1.0, 1.0]]
    """
    outputs, inputs = weight.shape
    linear = nn.Linear(inputs, outputs, device="meta")
    linear.weight, linear.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias.contiguous())
    return linear


def weighted_sum(losses: Tensor, weights: Weights) -> Tensor:
    """Return the sum of the losses of images, (n,), each multiplied by its weight, (n,)."""
    return (losses * torch.from_numpy(weights).to(losses)).sum()


def mean_cross_entropy(logits: Tensor, labels: Tensor, weights: Weights | None = None) -> Tensor:
    """Return the mean cross-entropy of logits (n, classes) and labels (n,), weighted if there are weights (n,).

    >>> logits, labels = torch.zeros(2, 2), torch.tensor([0, 1])
    >>> mean_cross_entropy(logits, labels) == mean_cross_entropy(logits, labels, np.array([0.5, 1.5]))
    tensor(True)
    """
    if weights is None:
        return nn.functional.cross_entropy(logits, labels)
    return sum_cross_entropy(logits, labels, weights) / len(weights)


def sum_cross_entropy(logits: Tensor, labels: Tensor, weights: Weights | None = None) -> Tensor:
    """Return the cross-entropy of logits (n, classes) and labels (n,), summed, and weighted if there are weights."""
    if weights is None:
        return nn.functional.cross_entropy(logits, labels, reduction="sum")
    return weighted_sum(nn.functional.cross_entropy(logits, labels, reduction="none"), weights)


State = dict[str, NDArray[np.floating[Any]]]


def copy_state(network: nn.Module, optimizer: GradientDescent | torch.optim.SGD) -> State:
    """Return copies of the trained parameters, and of their momentum if there is any, by name."""
    state: State = {}
    for name, parameter in _list_trained(network):
        state[name] = parameter.detach().cpu().numpy().copy()
        if (buffer := optimizer.state[parameter].get("momentum_buffer")) is not None:
            state[f"momentum of {name}"] = buffer.cpu().numpy().copy()
    return state


@torch.no_grad()
def restore_state(network: nn.Module, optimizer: GradientDescent | torch.optim.SGD, state: State) -> None:
    """Restore a state from `copy_state`."""
    for name, parameter in _list_trained(network):
        parameter.copy_(torch.from_numpy(state[name]))
        momentum = state.get(f"momentum of {name}")
        # The memory layout of the parameter, like a buffer that the optimizer creates: the next step has the same bits.
        buffer = torch.empty_like(parameter).copy_(torch.from_numpy(momentum)) if momentum is not None else None
        optimizer.state[parameter] = {"momentum_buffer": buffer}


def _list_trained(network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]


def build_linear(dimension: int, classes: int, rng: np.random.Generator) -> nn.Linear:
    """Return a float32 linear layer, initialised like `torch.nn.Linear` with draws from `rng`."""
    [(weight, bias)] = initialise_layers((dimension, classes), "uniform_fan_in", "float32", rng)
    return wrap_weights(torch.from_numpy(weight), torch.from_numpy(bias))
