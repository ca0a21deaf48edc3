"""What PyTorch's modules and optimizer remember of a training, as arrays by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from triptych.gradient_descent import GradientDescent

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
