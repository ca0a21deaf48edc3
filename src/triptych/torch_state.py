"""What PyTorch's modules and optimizer remember of a training, as arrays by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

State = dict[str, NDArray[np.floating[Any]]]


def copy_state(network: nn.Module, optimizer: torch.optim.SGD) -> State:
    """Return copies of the parameters and of their momentum, where there is any."""
    state = {name: parameter.detach().numpy().copy() for name, parameter in network.named_parameters()}
    for name, parameter in network.named_parameters():
        if (buffer := optimizer.state[parameter].get("momentum_buffer")) is not None:
            state[f"momentum of {name}"] = buffer.numpy().copy()
    return state


@torch.no_grad()
def restore_state(network: nn.Module, optimizer: torch.optim.SGD, state: State) -> None:
    """Take back what `copy_state` returned."""
    for name, parameter in network.named_parameters():
        parameter.copy_(torch.from_numpy(state[name]))
        momentum = state.get(f"momentum of {name}")
        buffer = torch.from_numpy(momentum).clone() if momentum is not None else None
        optimizer.state[parameter] = {"momentum_buffer": buffer}
