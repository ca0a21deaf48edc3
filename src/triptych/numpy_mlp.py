"""A multilayer perceptron by hand: forward, backward and update, one line an equation.

Notation of Raschka, Liu, Mirjalili, "Machine Learning with PyTorch and Scikit-Learn", chapter 11, for any
number of layers l = 1..L, with a(0) = x and one image a row:

    forward     z(l) = a(l-1) W(l)^T + b(l)                    a(l) = activation(z(l))
    backward    delta(L) = dLoss/da(L) * da(L)/dz(L)
                dLoss/dW(l) = delta(l)^T a(l-1)                dLoss/db(l) = sum of delta(l) over the batch
                delta(l-1) = delta(l) W(l) * da(l-1)/dz(l-1)
    update      W(l) <- W(l) - learning rate * dLoss/dW(l)     b(l) alike

Arrays are allocated once and written in place: a step allocates nothing.

A step by hand, one input, one hidden unit and one output, sigmoid, squared error, all weights 0, target 1:
z(1) = 0, a(1) = 0.5, z(2) = 0, a(2) = 0.5; delta(2) = 2 (0.5 - 1) * 0.5 * 0.5 = -0.25;
dLoss/dW(2) = -0.25 * 0.5 = -0.125 and dLoss/db(2) = -0.25; delta(1) = -0.25 * 0 * 0.25 = 0.

>>> network = NumpyMLP([(np.zeros((1, 1)), np.zeros(1)), (np.zeros((1, 1)), np.zeros(1))])
>>> gradients = network.differentiate(np.array([[1.0]]), np.array([[1.0]]))
>>> [float(gradient.item()) for layer in gradients for gradient in layer]
[0.0, 0.0, -0.125, -0.25]
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triptych.mlp import Layer, initialise_layers
from triptych.numpy_functions import ACTIVATIONS, LOSSES, Floats, normalise_rows
from triptych.training import Examples, OnEpoch, run_epochs, shuffle_minibatches

if TYPE_CHECKING:
    from triptych.sections import MLPConfig

# Images measured at once: enough for the matrix products, few enough for the cache.
MEASURING_BATCH = 4096


class NumpyMLP:
    """A multilayer perceptron, trained by minibatch stochastic gradient descent.

    Attributes:
        layers: weight (outputs, inputs) and bias (outputs,) of each layer; training changes them in place.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        activation: str = "sigmoid",
        loss: str = "squared_error",
        loss_reduction: str = "sum",
    ) -> None:
        """Take over the layers as they are.

        Args:
            layers: weight (outputs, inputs) and bias (outputs,) of each layer, from the input side.
            activation: of the hidden layers, a row of `ACTIVATIONS`.
            loss: a row of `LOSSES`; it brings the activation of the last layer with it.
            loss_reduction: "sum" (the book) or "mean" (`torch.nn.MSELoss`) of the squared error over the
                outputs of an image; cross-entropy has one term an image, and no choice.
        """
        self.layers = list(layers)
        self.names = {"activation": activation, "loss": loss, "loss_reduction": loss_reduction}
        self._hidden = ACTIVATIONS[activation]
        self._loss = LOSSES[loss]
        outputs = len(self.layers[-1][1])
        self._loss_scale = 1.0 / outputs if (loss, loss_reduction) == ("squared_error", "mean") else 1.0
        self._gradients = [(np.empty_like(weight), np.empty_like(bias)) for weight, bias in self.layers]
        self._velocities = [(np.zeros_like(weight), np.zeros_like(bias)) for weight, bias in self.layers]
        self._activations: list[Floats] = []
        self._scratches: list[Floats] = []
        self._targets = np.empty((0, outputs))

    def forward(self, x: Floats) -> list[Floats]:
        """Return a(1)..a(L) for a batch: (batch, units of the layer) each, views that the next call overwrites.

        Args:
            x: (batch, inputs), of the dtype of the weights.
        """
        self._reserve(len(x))
        activations = [buffer[: len(x)] for buffer in self._activations]
        self._fill(x, activations)
        return activations

    def _fill(self, x: Floats, activations: Sequence[Floats]) -> None:
        """Write a(1)..a(L) for a batch into arrays of the caller's; nothing of the network changes."""
        functions = [self._hidden.inplace_apply] * (len(self.layers) - 1) + [self._loss.inplace_output]
        a = x
        for (weight, bias), function, z in zip(self.layers, functions, activations, strict=True):
            np.matmul(a, weight.T, out=z)
            z += bias
            function(z)
            a = z

    def backward(self, x: Floats, activations: Sequence[Floats], y: Floats) -> None:
        """Write the gradient of the batch's mean loss over the old one; consumes the activations and y.

        Args:
            x: (batch, inputs).
            activations: what `forward` returned for x.
            y: (batch, classes) one-hot targets.
        """
        delta = activations[-1]
        self._loss.inplace_delta(delta, y, self._scratches[-1][: len(x)])
        delta *= self._loss_scale / len(x)
        for layer in reversed(range(len(self.layers))):
            weight_gradient, bias_gradient = self._gradients[layer]
            a = activations[layer - 1] if layer else x
            np.matmul(delta.T, a, out=weight_gradient)
            delta.sum(axis=0, out=bias_gradient)
            if layer:
                earlier = self._scratches[layer - 1][: len(x)]
                self._hidden.inplace_slope(a, earlier)
                np.matmul(delta, self.layers[layer][0], out=earlier)
                earlier *= a
                delta = earlier

    def update(self, learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        """Take one step down the gradient: v <- momentum v + gradient + weight decay W, W <- W - learning rate v."""
        for parameters, gradients, velocities in zip(self.layers, self._gradients, self._velocities, strict=True):
            for parameter, gradient, velocity in zip(parameters, gradients, velocities, strict=True):
                if weight_decay:
                    gradient += weight_decay * parameter
                if momentum:
                    velocity *= momentum
                    velocity += gradient
                    np.multiply(velocity, learning_rate, out=gradient)
                else:
                    gradient *= learning_rate
                parameter -= gradient

    def differentiate(self, x: Floats, y: Floats) -> list[Layer]:
        """Return the gradient of the mean loss of a batch by the weight and bias of each layer.

        Args:
            x: (batch, inputs).
            y: (batch, classes) one-hot targets.
        """
        self.backward(x, self.forward(x), y.copy())
        return [(weight.copy(), bias.copy()) for weight, bias in self._gradients]

    def train_epoch(self, train: Examples, settings: MLPConfig, rng: np.random.Generator) -> None:
        """Take one step for each batch of a newly shuffled training part.

        Args:
            train: features (n, inputs) and labels (n,).
            settings: batch size, learning rate, momentum and weight decay.
            rng: draws the order.
        """
        dtype = self.layers[0][0].dtype
        batch = np.empty((settings.batch_size, train.features.shape[1]), dtype=dtype)
        for indices in shuffle_minibatches(len(train), settings.batch_size, rng):
            x = batch[: len(indices)]
            np.take(train.features, indices, axis=0, out=x, mode="clip")
            y = self._encode_targets(train.labels[indices])
            self.backward(x, self.forward(x), y)
            self.update(settings.learning_rate, settings.momentum, settings.weight_decay)

    def predict_outputs(self, features: Floats) -> Floats:
        """Return the outputs of the last layer, (n, classes), for any number of rows.

        The buffers are this call's own: a served network is asked by several threads at once.
        """
        features = np.asarray(features, dtype=self.layers[0][0].dtype)
        outputs = np.empty((len(features), len(self.layers[-1][1])), dtype=features.dtype)
        rows = min(len(features), MEASURING_BATCH)
        hidden = [np.empty((rows, len(bias)), dtype=bias.dtype) for _, bias in self.layers[:-1]]
        for start in range(0, len(features), MEASURING_BATCH):
            part = slice(start, start + MEASURING_BATCH)
            x = features[part]
            self._fill(x, [*(buffer[: len(x)] for buffer in hidden), outputs[part]])
        return outputs

    def predict_proba(self, features: Floats) -> Floats:
        """Return class probabilities, (n, classes), each row summing to one.

        Sigmoid outputs are no distribution: they are divided by their sum, which keeps the winner.
        """
        return normalise_rows(self.predict_outputs(features))

    def measure(self, examples: Examples) -> tuple[float, float]:
        """Return the mean loss (squared error averaged over the outputs too) and the accuracy."""
        outputs = self.predict_outputs(examples.features)
        losses = self._loss.measure(outputs, examples.labels)
        return float(losses.mean(dtype=np.float64)), float((outputs.argmax(axis=1) == examples.labels).mean())

    def _encode_targets(self, labels: NDArray[np.int64]) -> Floats:
        """Return one-hot targets (batch, classes), a view that the next call overwrites."""
        if len(self._targets) < len(labels):
            self._targets = np.empty((len(labels), self._targets.shape[1]), dtype=self.layers[0][0].dtype)
        y = self._targets[: len(labels)]
        y.fill(0.0)
        y[np.arange(len(labels)), labels] = 1.0
        return y

    def _reserve(self, rows: int) -> None:
        """Allocate the buffers of a batch, unless those at hand are large enough."""
        if not self._activations or len(self._activations[0]) < rows:
            self._activations = [np.empty((rows, len(bias)), dtype=bias.dtype) for _, bias in self.layers]
            self._scratches = [np.empty_like(buffer) for buffer in self._activations]


def train_numpy_mlp(
    settings: MLPConfig,
    train: Examples,
    validation: Examples | None,
    *,
    classes: int,
    seed: int,
    on_epoch: OnEpoch,
) -> NumpyMLP:
    """Train a network from new weights.

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
    rng = np.random.default_rng(seed)
    sizes = (train.features.shape[1], *settings.hidden_units, classes)
    layers = initialise_layers(sizes, settings.initialisation, settings.dtype, rng)
    network = NumpyMLP(layers, settings.activation, settings.loss, settings.loss_reduction)
    train_epoch = partial(network.train_epoch, train, settings, rng)
    run_epochs(settings.epochs, train_epoch, network.measure, train, validation, on_epoch)
    return network
