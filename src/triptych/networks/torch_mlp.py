"""The multilayer perceptron of `numpy_mlp` in PyTorch, with autograd and PyTorch's optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from triptych.networks.initialisation import Layer, name_layers, read_layers
from triptych.networks.light_torch import (
    GradientDescent,
    copy_state,
    mean_cross_entropy,
    restore_state,
    weighted_sum,
    wrap_weights,
)
from triptych.networks.minibatches import (
    Examples,
    Measured,
    Weights,
    check_step,
    inplace_draw_mask,
    mean_loss,
    shuffle_minibatches,
)
from triptych.networks.numpy_functions import log_losses
from triptych.networks.precision import find_device
from triptych.networks.replayed.steps import ReplayedSteps

if TYPE_CHECKING:
    from triptych.config.trainers import MLPConfig

Floats = NDArray[np.floating[Any]]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
# PyTorch's cross-entropy takes logits, so the softmax is applied only for predictions.
OUTPUTS: dict[str, Callable[[], nn.Module]] = {"squared_error": nn.Sigmoid, "cross_entropy": nn.Identity}


def encode_one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Return one-hot targets (n, classes), with the classes and the dtype of the outputs `like`."""
    return nn.functional.one_hot(labels, like.shape[1]).to(like.dtype)


def keep_labels(labels: Tensor, like: Tensor) -> Tensor:  # noqa: ARG001 - a row of TARGETS
    """Return the labels themselves, (n,) int64."""
    return labels


def sum_squared_error(outputs: Tensor, targets: Tensor, weights: Weights | Tensor | None = None) -> Tensor:
    """Return the squared error of one-hot targets, summed over the outputs and averaged over the images."""
    if weights is None:
        return nn.functional.mse_loss(outputs, targets, reduction="sum") / len(outputs)
    return weighted_sum((outputs - targets).square().sum(dim=1), weights) / len(outputs)


def mean_squared_error(outputs: Tensor, targets: Tensor, weights: Weights | Tensor | None = None) -> Tensor:
    """Return the squared error of one-hot targets, averaged over the outputs and the images."""
    if weights is None:
        return nn.functional.mse_loss(outputs, targets)
    return weighted_sum((outputs - targets).square().mean(dim=1), weights) / len(outputs)


# The targets that each loss expects.
TARGETS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared_error": encode_one_hot,
    "cross_entropy": keep_labels,
}
# Each takes outputs, targets, and weights (n,) by which the losses of the images are multiplied, or None.
CRITERIA: dict[tuple[str, str], Callable[[Tensor, Tensor, Weights | Tensor | None], Tensor]] = {
    ("squared_error", "sum"): sum_squared_error,
    ("squared_error", "mean"): mean_squared_error,
    ("cross_entropy", "sum"): mean_cross_entropy,
    ("cross_entropy", "mean"): mean_cross_entropy,
}
PROBABILITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "squared_error": lambda outputs: nn.functional.normalize(
        outputs.clamp_min(torch.finfo(outputs.dtype).tiny), p=1.0, dim=1
    ),
    "cross_entropy": lambda outputs: outputs.softmax(dim=1),
}


class Dropout(nn.Module):
    """Dropout with masks drawn as in `NumpyMLP`, so that both networks drop the same units."""

    def __init__(self) -> None:
        """Start with a probability of 0; `TorchMLP.train_epoch` sets it."""
        super().__init__()
        self.probability = 0.0
        self.rng = np.random.default_rng(0)

    def forward(self, a: Tensor) -> Tensor:
        """Return a, (batch, units); during training, multiplied by a new mask."""
        if not (self.training and self.probability):
            return a
        mask = torch.empty(a.shape, dtype=a.dtype)
        inplace_draw_mask(mask.numpy(), self.probability, self.rng)
        return a * mask.to(a.device)


class Linear(nn.Linear):
    """A linear layer; on a GPU a product and a sum, which small layers compute faster than cuBLASLt's single call."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + b, (batch, outputs), of x, (batch, inputs)."""
        return x.mm(self.weight.t()) + self.bias if x.is_cuda else super().forward(x)


class TorchMLP:
    """A multilayer perceptron as a `torch.nn.Sequential`, with the interface of `NumpyMLP`.

    Attributes:
        network: the modules, on the CPU until an epoch is trained on a GPU.

    >>> network = TorchMLP([(np.zeros((1, 2)), np.zeros(1)), (np.zeros((2, 1)), np.zeros(2))])
    >>> network.predict_proba(np.array([[1.0, 2.0]]))
    array([[0.5, 0.5]])
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        activation: str = "sigmoid",
        loss: str = "squared_error",
        loss_reduction: str = "sum",
    ) -> None:
        """Copy the layers into modules.

        Args:
            layers: weight (outputs, inputs) and bias (outputs,) of each layer, from the input side.
            activation: of the hidden layers, a row of `ACTIVATIONS`.
            loss: "squared_error" of sigmoid outputs, or "cross_entropy" of logits.
            loss_reduction: "sum" or "mean" of the squared error over the outputs of an image.
        """
        self.names = {"activation": activation, "loss": loss, "loss_reduction": loss_reduction}
        self.network = build_network(layers, activation, loss)
        self._classes, self._dtype = len(layers[-1][1]), layers[0][0].dtype
        self._optimizer = GradientDescent(self.network.parameters(), fused=True)
        # On a GPU: examples that were sent there, and the recorded steps.
        self._sent: list[tuple[Examples, Tensor, Tensor]] = []
        self._replayed = ReplayedSteps()

    @property
    def layers(self) -> list[Layer]:
        """Weight (outputs, inputs) and bias (outputs,) of each layer; on the CPU they share memory with the network."""
        linears = [module for module in self.network if isinstance(module, nn.Linear)]
        return [(linear.weight.detach().cpu().numpy(), linear.bias.detach().cpu().numpy()) for linear in linears]

    @property
    def device(self) -> str:
        """Where the network is, "cpu" or "cuda"."""
        return next(self.network.parameters()).device.type

    def train_epoch(self, train: Examples, settings: MLPConfig, learning_rate: float, rng: np.random.Generator) -> None:
        """Shuffle the training set, and take one step per batch.

        Args:
            train: features (n, inputs), labels (n,), and perhaps weights (n,).
            settings: batch size, momentum, weight decay and dropout.
            learning_rate: for this epoch.
            rng: draws the order, then the dropout masks of each batch.

        Raises:
            NonFiniteStepError: the loss is infinite or not a number.
        """
        self._prepare_epoch(settings, learning_rate, rng)
        if self.device == "cuda" and not (settings.dropout or settings.input_dropout):
            self._replay_epoch(train, settings, rng)
        else:
            self._step_through_epoch(train, settings, rng)
        self.network.eval()

    def _step_through_epoch(self, train: Examples, settings: MLPConfig, rng: np.random.Generator) -> None:
        features, labels = self._send(train)
        targets = TARGETS[self.names["loss"]](labels, features.new_empty(0, self._classes))
        batch = features.new_empty(settings.batch_size, features.shape[1])
        for step, indices in enumerate(shuffle_minibatches(len(train), settings.batch_size, rng), start=1):
            rows = torch.from_numpy(indices).to(features.device)
            x = torch.index_select(features, 0, rows, out=batch[: len(rows)])
            if settings.input_dropout:
                mask = torch.empty(x.shape, dtype=x.dtype)
                inplace_draw_mask(mask.numpy(), settings.input_dropout, rng)
                x *= mask.to(x.device)
            check_step(self._take_step(x, targets[rows], train.weights_of(indices)).item(), step)

    def _replay_epoch(self, train: Examples, settings: MLPConfig, rng: np.random.Generator) -> None:
        """Take the steps of an epoch on a GPU: the same as one by one, up to rounding."""
        features, labels = self._send(train)
        targets = TARGETS[self.names["loss"]](labels, features.new_empty(0, self._classes))
        tensors = [features, targets]
        if train.weights is not None:
            tensors.append(torch.from_numpy(train.weights).to(features))
        order = torch.from_numpy(rng.permutation(len(train))).to(features.device)
        shuffled = [rows.index_select(0, order) for rows in tensors]
        losses = self._replayed.run(self._take_step, shuffled, settings.batch_size)
        for step in np.flatnonzero(~np.isfinite(losses))[:1]:
            check_step(losses[step], int(step) + 1)

    def _take_step(self, x: Tensor, targets: Tensor, weights: Weights | Tensor | None = None) -> Tensor:
        """Take a step on a batch; return its loss before the step, a scalar on the device."""
        self._optimizer.zero_grad()
        loss = CRITERIA[self.names["loss"], self.names["loss_reduction"]](self.network(x), targets, weights)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def _prepare_epoch(self, settings: MLPConfig, learning_rate: float, rng: np.random.Generator) -> None:
        """Pass the settings of an epoch to the optimizer and the dropout layers."""
        torch.set_num_threads(settings.threads)
        if settings.device == "auto":
            self._move(find_device())
        options = (settings.momentum, settings.weight_decay)
        if options != (self._optimizer.momentum, self._optimizer.weight_decay):
            self._replayed.forget()
        self._optimizer.set_options(learning_rate, *options)
        for module in self.network.train():
            if isinstance(module, Dropout):
                module.probability, module.rng = settings.dropout, rng

    def _move(self, device: str) -> None:
        """Move the network and the state of its optimizer to a device."""
        if device == self.device:
            return
        self.network.to(device)
        for state in self._optimizer.state.values():
            state |= {name: value.to(device) for name, value in state.items() if value is not None}

    def _send(self, examples: Examples) -> tuple[Tensor, Tensor]:
        """Return features and labels on the device of the network; on a GPU they stay there for the next epoch."""
        for sent, *tensors in self._sent:
            if sent is examples:
                return tensors[0], tensors[1]
        features = self.as_tensor(np.asarray(examples.features))
        labels = torch.from_numpy(examples.labels).to(features.device)
        if self.device == "cuda":
            # The training and the validation set.
            self._sent = [*self._sent[-1:], (examples, features, labels)]
        return features, labels

    def copy_state(self) -> dict[str, Floats]:
        """Return copies of the parameters, and of their momentum if there is any, by name."""
        return copy_state(self.network, self._optimizer)

    def restore_state(self, state: dict[str, Floats]) -> None:
        """Restore a state from `copy_state`."""
        self._replayed.forget()
        restore_state(self.network, self._optimizer, state)

    @torch.inference_mode()
    def predict_proba(self, features: Floats) -> Floats:
        """Return class probabilities, (n, classes), whose rows sum to one; sigmoid outputs are divided by their sum."""
        return PROBABILITIES[self.names["loss"]](self.network(self.as_tensor(features))).cpu().numpy()

    @torch.inference_mode()
    def measure(self, examples: Examples) -> Measured:
        """Return loss, accuracy and log loss; squared error is also averaged over the outputs."""
        features, labels = self._send(examples)
        outputs = self.network(features)
        targets = TARGETS[self.names["loss"]](labels, outputs)
        log_loss = loss = float(CRITERIA[self.names["loss"], "mean"](outputs, targets, examples.weights))
        if self.names["loss"] != "cross_entropy":
            truth = PROBABILITIES[self.names["loss"]](outputs)[torch.arange(len(labels), device=labels.device), labels]
            log_loss = mean_loss(log_losses(truth.cpu().numpy()), examples.weights)
        return Measured(loss, float((outputs.argmax(dim=1) == labels).double().mean()), log_loss)

    @property
    def dtype(self) -> str:
        """Dtype of the weights and the inputs."""
        return str(self._dtype)

    def arrays(self) -> dict[str, Floats]:
        """Return the weight and the bias of every layer by name."""
        return name_layers(self.layers)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], **names: str) -> Self:
        """Return the network with these layers; `names` are the constructor's other arguments."""
        return cls(read_layers(arrays), **names)

    def as_tensor(self, features: Floats) -> Tensor:
        """Return features, (n, inputs), as a tensor with the dtype of the weights, on their device."""
        return torch.from_numpy(np.require(features, self._dtype, "W")).to(self.device)


def build_network(layers: Sequence[Layer], activation: str, loss: str) -> nn.Sequential:
    """Return linear layers with copies of the given weights, each followed by its activation."""
    modules: list[nn.Module] = []
    for weight, bias in layers:
        linear = wrap_weights(torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy()), Linear)
        modules += [linear, ACTIVATIONS[activation](), Dropout()]
    return nn.Sequential(*modules[:-2], OUTPUTS[loss]()).eval()
