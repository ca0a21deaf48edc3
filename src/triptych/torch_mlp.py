"""The same multilayer perceptron in PyTorch: autograd and `torch.optim` in place of the hand-written steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from triptych.mlp import Layer, initialise_layers
from triptych.training import Examples, OnEpoch, run_epochs, shuffle_minibatches

if TYPE_CHECKING:
    from triptych.sections import MLPConfig

Floats = NDArray[np.floating[Any]]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
# Cross-entropy takes logits: its softmax belongs to prediction only.
OUTPUTS: dict[str, Callable[[], nn.Module]] = {"squared_error": nn.Sigmoid, "cross_entropy": nn.Identity}


def sum_squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the squared error of one-hot targets, summed over outputs, averaged over images (the book's)."""
    return mean_squared_error(outputs, labels) * outputs.shape[1]


def mean_squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the squared error of one-hot targets, averaged over outputs and images (`MSELoss`)."""
    targets = nn.functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    return nn.functional.mse_loss(outputs, targets)


CRITERIA: dict[tuple[str, str], Callable[[Tensor, Tensor], Tensor]] = {
    ("squared_error", "sum"): sum_squared_error,
    ("squared_error", "mean"): mean_squared_error,
    ("cross_entropy", "sum"): nn.functional.cross_entropy,
    ("cross_entropy", "mean"): nn.functional.cross_entropy,
}
MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared_error": mean_squared_error,
    "cross_entropy": nn.functional.cross_entropy,
}
PROBABILITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "squared_error": lambda outputs: nn.functional.normalize(
        outputs.clamp_min(torch.finfo(outputs.dtype).tiny), p=1.0, dim=1
    ),
    "cross_entropy": lambda outputs: outputs.softmax(dim=1),
}


class TorchMLP:
    """A multilayer perceptron as a `torch.nn.Sequential`, with the interface of `NumpyMLP`.

    Attributes:
        network: the modules, on the CPU.
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
            loss: "squared_error" behind a sigmoid, or "cross_entropy" on logits.
            loss_reduction: "sum" or "mean" of the squared error over the outputs of an image.
        """
        self.names = {"activation": activation, "loss": loss, "loss_reduction": loss_reduction}
        self.network = build_network(layers, activation, loss)
        self._criterion = CRITERIA[loss, loss_reduction]

    @property
    def layers(self) -> list[Layer]:
        """Weight (outputs, inputs) and bias (outputs,) of each layer, as arrays that share memory."""
        linears = [module for module in self.network if isinstance(module, nn.Linear)]
        return [(linear.weight.detach().numpy(), linear.bias.detach().numpy()) for linear in linears]

    def train_epoch(
        self,
        train: tuple[Tensor, Tensor],
        batch_size: int,
        optimizer: torch.optim.Optimizer,
        rng: np.random.Generator,
    ) -> None:
        """Take one step for each batch of a newly shuffled training part.

        Args:
            train: features (n, inputs) and labels (n,).
            batch_size: images of one step.
            optimizer: holds the parameters of the network.
            rng: draws the order.
        """
        features, labels = train
        batch = torch.empty(batch_size, features.shape[1], dtype=features.dtype)
        for indices in shuffle_minibatches(len(labels), batch_size, rng):
            rows = torch.from_numpy(indices)
            x = torch.index_select(features, 0, rows, out=batch[: len(rows)])
            optimizer.zero_grad()
            self._criterion(self.network(x), labels[rows]).backward()
            optimizer.step()

    @torch.inference_mode()
    def predict_proba(self, features: Floats) -> Floats:
        """Return class probabilities, (n, classes), each row summing to one; sigmoid outputs are normalised."""
        return PROBABILITIES[self.names["loss"]](self.network(self.as_tensor(features))).numpy()

    @torch.inference_mode()
    def measure(self, examples: Examples) -> tuple[float, float]:
        """Return the mean loss (squared error averaged over the outputs too) and the accuracy."""
        outputs = self.network(self.as_tensor(examples.features))
        labels = torch.from_numpy(examples.labels)
        loss = MEASURES[self.names["loss"]](outputs, labels)
        return float(loss), float((outputs.argmax(dim=1) == labels).double().mean())

    def as_tensor(self, features: Floats) -> Tensor:
        """Return features, (n, inputs), in the number format of the weights."""
        return torch.from_numpy(np.asarray(features, dtype=self.layers[0][0].dtype))


def build_network(layers: Sequence[Layer], activation: str, loss: str) -> nn.Sequential:
    """Return linear layers that hold copies of the given weights, each with its activation behind it."""
    modules: list[nn.Module] = []
    for weight, bias in layers:
        linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], dtype=torch.from_numpy(weight).dtype)
        linear.load_state_dict({"weight": torch.from_numpy(weight.copy()), "bias": torch.from_numpy(bias.copy())})
        modules += [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*modules[:-1], OUTPUTS[loss]())


def build_optimizer(network: nn.Module, settings: MLPConfig) -> torch.optim.SGD:
    """Return PyTorch's gradient descent, fused: one call a step instead of some for each parameter."""
    return torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def train_torch_mlp(
    settings: MLPConfig,
    train: Examples,
    validation: Examples | None,
    *,
    classes: int,
    seed: int,
    on_epoch: OnEpoch,
) -> TorchMLP:
    """Train a network from new weights: those, and the batches, of `train_numpy_mlp` with the same seed.

    Args:
        settings: layers, loss and steps.
        train: features (n, inputs) and labels (n,).
        validation: the same for the part on which choices are made, or None.
        classes: number of classes.
        seed: of the initial weights and the order of the batches.
        on_epoch: called with the metrics of each epoch.

    Raises:
        DivergenceError: the training loss is no finite number.
    """
    torch.set_num_threads(settings.threads)
    rng = np.random.default_rng(seed)
    sizes = (train.features.shape[1], *settings.hidden_units, classes)
    layers = initialise_layers(sizes, settings.initialisation, settings.dtype, rng)
    model = TorchMLP(layers, settings.activation, settings.loss, settings.loss_reduction)
    optimizer = build_optimizer(model.network, settings)
    tensors = model.as_tensor(train.features), torch.from_numpy(train.labels)
    train_epoch = partial(model.train_epoch, tensors, settings.batch_size, optimizer, rng)
    run_epochs(settings.epochs, train_epoch, model.measure, train, validation, on_epoch)
    return model
