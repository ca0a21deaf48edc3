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


def sum_squared_error(outputs: Tensor, targets: Tensor, weights: Weights | None = None) -> Tensor:
    """Return the squared error of one-hot targets, summed over the outputs and averaged over the images."""
    if weights is None:
        return nn.functional.mse_loss(outputs, targets, reduction="sum") / len(outputs)
    return weighted_sum((outputs - targets).square().sum(dim=1), weights) / len(outputs)


def mean_squared_error(outputs: Tensor, targets: Tensor, weights: Weights | None = None) -> Tensor:
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
CRITERIA: dict[tuple[str, str], Callable[[Tensor, Tensor, Weights | None], Tensor]] = {
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
        return a * mask


class TorchMLP:
    """A multilayer perceptron as a `torch.nn.Sequential`, with the interface of `NumpyMLP`.

    Attributes:
        network: the modules, on the CPU.

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
        self._classes = len(layers[-1][1])
        self._optimizer = GradientDescent(self.network.parameters(), fused=True)

    @property
    def layers(self) -> list[Layer]:
        """Weight (outputs, inputs) and bias (outputs,) of each layer, arrays that share memory with the network."""
        linears = [module for module in self.network if isinstance(module, nn.Linear)]
        return [(linear.weight.detach().numpy(), linear.bias.detach().numpy()) for linear in linears]

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
        features, labels = self.as_tensor(np.asarray(train.features)), torch.from_numpy(train.labels)
        targets = TARGETS[self.names["loss"]](labels, torch.empty(0, self._classes, dtype=features.dtype))
        criterion = CRITERIA[self.names["loss"], self.names["loss_reduction"]]
        batch = torch.empty(settings.batch_size, features.shape[1], dtype=features.dtype)
        for step, indices in enumerate(shuffle_minibatches(len(train), settings.batch_size, rng), start=1):
            rows = torch.from_numpy(indices)
            x = torch.index_select(features, 0, rows, out=batch[: len(rows)])
            if settings.input_dropout:
                mask = torch.empty(x.shape, dtype=x.dtype)
                inplace_draw_mask(mask.numpy(), settings.input_dropout, rng)
                x *= mask
            self._optimizer.zero_grad()
            loss = criterion(self.network(x), targets[rows], train.weights_of(indices))
            loss.backward()
            self._optimizer.step()
            check_step(loss.item(), step)
        self.network.eval()

    def _prepare_epoch(self, settings: MLPConfig, learning_rate: float, rng: np.random.Generator) -> None:
        """Pass the settings of an epoch to the optimizer and the dropout layers."""
        torch.set_num_threads(settings.threads)
        self._optimizer.set_options(learning_rate, settings.momentum, settings.weight_decay)
        for module in self.network.train():
            if isinstance(module, Dropout):
                module.probability, module.rng = settings.dropout, rng

    def copy_state(self) -> dict[str, Floats]:
        """Return copies of the parameters, and of their momentum if there is any, by name."""
        return copy_state(self.network, self._optimizer)

    def restore_state(self, state: dict[str, Floats]) -> None:
        """Restore a state from `copy_state`."""
        restore_state(self.network, self._optimizer, state)

    @torch.inference_mode()
    def predict_proba(self, features: Floats) -> Floats:
        """Return class probabilities, (n, classes), whose rows sum to one; sigmoid outputs are divided by their sum."""
        return PROBABILITIES[self.names["loss"]](self.network(self.as_tensor(features))).numpy()

    @torch.inference_mode()
    def measure(self, examples: Examples) -> Measured:
        """Return loss, accuracy and log loss; squared error is also averaged over the outputs."""
        outputs = self.network(self.as_tensor(np.asarray(examples.features)))
        labels = torch.from_numpy(examples.labels)
        targets = TARGETS[self.names["loss"]](labels, outputs)
        log_loss = loss = float(CRITERIA[self.names["loss"], "mean"](outputs, targets, examples.weights))
        if self.names["loss"] != "cross_entropy":
            truth = PROBABILITIES[self.names["loss"]](outputs)[torch.arange(len(labels)), labels]
            log_loss = mean_loss(log_losses(truth.numpy()), examples.weights)
        return Measured(loss, float((outputs.argmax(dim=1) == labels).double().mean()), log_loss)

    @property
    def dtype(self) -> str:
        """Dtype of the weights and the inputs."""
        return str(self.layers[0][0].dtype)

    def arrays(self) -> dict[str, Floats]:
        """Return the weight and the bias of every layer by name."""
        return name_layers(self.layers)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], **names: str) -> Self:
        """Return the network with these layers; `names` are the constructor's other arguments."""
        return cls(read_layers(arrays), **names)

    def as_tensor(self, features: Floats) -> Tensor:
        """Return features, (n, inputs), as a tensor with the dtype of the weights."""
        return torch.from_numpy(np.require(features, self.layers[0][0].dtype, "W"))


def build_network(layers: Sequence[Layer], activation: str, loss: str) -> nn.Sequential:
    """Return linear layers with copies of the given weights, each followed by its activation."""
    modules: list[nn.Module] = []
    for weight, bias in layers:
        linear = wrap_weights(torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy()))
        modules += [linear, ACTIVATIONS[activation](), Dropout()]
    return nn.Sequential(*modules[:-2], OUTPUTS[loss]()).eval()
