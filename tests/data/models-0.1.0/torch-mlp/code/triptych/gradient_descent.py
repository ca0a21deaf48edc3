"""PyTorch's stochastic gradient descent, without the seconds that the first optimizer of a process costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd


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
