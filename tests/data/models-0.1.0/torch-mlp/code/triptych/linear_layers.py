"""Linear layers of PyTorch that hold given weights."""

from __future__ import annotations

from torch import Tensor, nn


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
