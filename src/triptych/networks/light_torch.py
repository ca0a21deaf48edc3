"""Empty networks, linear layers, losses and an optimizer in PyTorch, without importing PyTorch's compiler.

That import takes seconds: longer than many a training here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.sgd import sgd
from torch.overrides import TorchFunctionMode

from triptych.networks.initialisation import initialise_layers
from triptych.networks.minibatches import Weights

# On the meta device they draw nothing, but import the compiler.
DRAWING = {Tensor.normal_, Tensor.uniform_}
# RegNet computes its widths with them.
COUNTING = {torch.arange, torch.tensor}


class _NothingDrawn(TorchFunctionMode):
    """Leaves tensors that would be drawn as they are; those that count keep their values."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of PyTorch, unless it fills a tensor: return that as it is."""
        del types
        kwargs = kwargs or {}
        if function in COUNTING:
            kwargs = {"device": "cpu"} | kwargs
        if function in DRAWING or getattr(function, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


@contextmanager
def without_values() -> Iterator[None]:
    """Create tensors on PyTorch's meta device, without values, in the block."""
    with torch.device("meta"), _NothingDrawn():
        yield


class GradientDescent:
    """Stochastic gradient descent with momentum and weight decay, bit for bit the steps of `torch.optim.SGD`.

    If fused, it calls the function behind that class. An instance of the class would import PyTorch's compiler.

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
        self.learning_rate: float | Tensor = 0.0
        self.momentum, self.weight_decay = 0.0, 0.0
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)

    def set_options(self, learning_rate: float, momentum: float, weight_decay: float) -> None:
        """Set the learning rate, the momentum, and the weight decay, an L2 term added to the gradient.

        On a GPU the learning rate is a tensor, always the same, which recorded steps read.
        """
        self.momentum, self.weight_decay = momentum, weight_decay
        device = self.parameters[0].device
        if device.type == "cpu":
            self.learning_rate = learning_rate
        elif isinstance(self.learning_rate, Tensor):
            self.learning_rate.fill_(learning_rate)
        else:
            self.learning_rate = torch.tensor(learning_rate, device=device)

    def zero_grad(self) -> None:
        """Discard the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters by one step."""
        if self.fused:
            self._step_at_once()
        else:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    self._step_one(parameter, parameter.grad)

    def _step_one(self, parameter: Tensor, gradient: Tensor) -> None:
        """Update one parameter: for small ones, `sgd` takes longer to check its arguments than to compute."""
        if self.weight_decay:
            gradient = gradient.add(parameter, alpha=self.weight_decay)
        if self.momentum:
            buffer = self.state[parameter].get("momentum_buffer")
            gradient = gradient.clone() if buffer is None else buffer.mul_(self.momentum).add_(gradient)
            self.state[parameter]["momentum_buffer"] = gradient
        parameter.add_(gradient, alpha=-float(self.learning_rate))

    def _step_at_once(self) -> None:
        states = [self.state[parameter] for parameter in self.parameters] if self.momentum else []
        buffers = [state.get("momentum_buffer") for state in states]
        sgd(
            list[Tensor](self.parameters),
            [parameter.grad for parameter in self.parameters if parameter.grad is not None],
            buffers,
            foreach=False,
            fused=True,
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        for state, buffer in zip(states, buffers, strict=True):
            state["momentum_buffer"] = buffer


def wrap_weights(weight: Tensor, bias: Tensor, layer: type[nn.Linear] = nn.Linear) -> nn.Linear:
    """Return a linear layer whose parameters are the given tensors; they are copied only if not contiguous.

    Nothing is drawn from PyTorch's global generator. `torch.nn.utils.skip_init` would do the same, but it imports
    PyTorch's compiler.

    Args:
        weight: (outputs, inputs), of any floating-point dtype.
        bias: (outputs,), of the same dtype.
        layer: the class of the layer.

    >>> wrap_weights(torch.zeros(2, 3), torch.ones(2))(torch.ones(1, 3)).tolist()
    [[1.0, 1.0]]
    """
    outputs, inputs = weight.shape
    linear = layer(inputs, outputs, device="meta")
    linear.weight, linear.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias.contiguous())
    return linear


def weighted_sum(losses: Tensor, weights: Weights | Tensor) -> Tensor:
    """Return the sum of the losses of images, (n,), each multiplied by its weight, (n,)."""
    return (losses * torch.as_tensor(weights).to(losses)).sum()


def mean_cross_entropy(logits: Tensor, labels: Tensor, weights: Weights | Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of logits (n, classes) and labels (n,), weighted if there are weights (n,).

    >>> logits, labels = torch.zeros(2, 2), torch.tensor([0, 1])
    >>> mean_cross_entropy(logits, labels) == mean_cross_entropy(logits, labels, np.array([0.5, 1.5]))
    tensor(True)
    """
    if weights is None:
        return nn.functional.cross_entropy(logits, labels)
    return sum_cross_entropy(logits, labels, weights) / len(weights)


def sum_cross_entropy(logits: Tensor, labels: Tensor, weights: Weights | Tensor | None = None) -> Tensor:
    """Return the cross-entropy of logits (n, classes) and labels (n,), summed, and weighted if there are weights."""
    if weights is None:
        return nn.functional.cross_entropy(logits, labels, reduction="sum")
    return weighted_sum(nn.functional.cross_entropy(logits, labels, reduction="none"), weights)


@torch.no_grad()
def differentiate_cross_entropy(linear: nn.Linear, x: Tensor, labels: Tensor, weights: Weights | None) -> Tensor:
    """Set the gradients of a linear layer, and return the loss: the mean cross-entropy of its logits.

    The gradients are bit for bit those of autograd on `mean_cross_entropy`, without recording a graph in every step.
    With the softmax p of the logits z = x W^T + b, and y = 1 for the class of an example and 0 elsewhere,

        loss = -sum(w y log p) / n
        dloss/dz = w (p - y) / n
        dloss/dW = (dloss/dz)^T x
        dloss/db = dloss/dz, summed over the examples

    Args:
        linear: the layer, W (classes, inputs) and b (classes,).
        x: (n, inputs), of the layer's dtype.
        labels: (n,) int64.
        weights: w (n,), by which the loss of each example is multiplied; None if all count alike.

    >>> linear = wrap_weights(torch.zeros(2, 1), torch.zeros(2))
    >>> loss = differentiate_cross_entropy(linear, torch.ones(1, 1), torch.tensor([1]), None)
    >>> linear.weight.grad, linear.bias.grad
    (tensor([[ 0.5000],
            [-0.5000]]), tensor([ 0.5000, -0.5000]))
    """
    log_p = torch.addmm(linear.bias, x, linear.weight.t()).log_softmax(dim=1)
    rows, images = labels.unsqueeze(1), log_p.shape[0]
    factors = torch.full((images, 1), -1.0 / images, dtype=log_p.dtype)
    if weights is not None:
        factors *= torch.from_numpy(weights).to(log_p).unsqueeze(1)
    # dloss/dlog p = -w y / n
    gradient = torch.zeros_like(log_p).scatter_(1, rows, factors)
    gradient = torch._log_softmax_backward_data(gradient, log_p, 1, log_p.dtype)  # noqa: SLF001 - as autograd does
    linear.weight.grad, linear.bias.grad = gradient.t().mm(x), gradient.sum(dim=0)
    return (log_p.gather(1, rows) * factors).sum()


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
