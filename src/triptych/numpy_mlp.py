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

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych.mlp import Layer, initialise_layers
from triptych.training import Examples, OnEpoch, measure_epoch, shuffle_minibatches

if TYPE_CHECKING:
    from triptych.sections import MLPConfig

Floats = NDArray[np.floating[Any]]

# Images measured at once: enough for the matrix products, few enough for the cache.
MEASURING_BATCH = 4096


def inplace_sigmoid(z: Floats) -> None:
    """Replace z by 1 / (1 + exp(-z)), as (1 + tanh(z / 2)) / 2, which cannot overflow."""
    z *= 0.5
    np.tanh(z, out=z)
    z += 1.0
    z *= 0.5


def inplace_sigmoid_slope(a: Floats, scratch: Floats) -> None:
    """Replace a = sigmoid(z) by da/dz = a (1 - a)."""
    np.multiply(a, a, out=scratch)
    a -= scratch


def inplace_tanh(z: Floats) -> None:
    """Replace z by tanh(z)."""
    np.tanh(z, out=z)


def inplace_tanh_slope(a: Floats, scratch: Floats) -> None:
    """Replace a = tanh(z) by da/dz = 1 - a^2."""
    np.multiply(a, a, out=scratch)
    np.subtract(1.0, scratch, out=a)


def inplace_relu(z: Floats) -> None:
    """Replace z by max(z, 0)."""
    np.maximum(z, 0.0, out=z)


def inplace_relu_slope(a: Floats, scratch: Floats) -> None:
    """Replace a = relu(z) by da/dz: 1 where a > 0, else 0."""
    np.greater(a, 0.0, out=scratch)
    a[...] = scratch


def inplace_softmax(z: Floats) -> None:
    """Replace each row of z by exp(z) / sum of exp(z), shifted by the row's largest so that nothing overflows."""
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Activation:
    """A row of `ACTIVATIONS`.

    Attributes:
        inplace_apply: turns z into a.
        inplace_slope: turns a into da/dz, with a scratch array of the same shape.
    """

    inplace_apply: Callable[[Floats], None]
    inplace_slope: Callable[[Floats, Floats], None]


ACTIVATIONS = {
    "sigmoid": Activation(inplace_sigmoid, inplace_sigmoid_slope),
    "tanh": Activation(inplace_tanh, inplace_tanh_slope),
    "relu": Activation(inplace_relu, inplace_relu_slope),
}


def inplace_squared_error_delta(a: Floats, y: Floats, scratch: Floats) -> None:
    """Replace a = sigmoid(z) by delta = 2 (a - y) * a (1 - a)."""
    np.subtract(a, y, out=y)
    inplace_sigmoid_slope(a, scratch)
    a *= y
    a *= 2.0


def inplace_cross_entropy_delta(a: Floats, y: Floats, scratch: Floats) -> None:  # noqa: ARG001 - a row of LOSSES
    """Replace a = softmax(z) by delta = a - y: the slopes of logarithm and softmax cancel."""
    a -= y


def squared_errors(a: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return the squared error of each image, averaged over its outputs: (n,)."""
    errors = np.square(a)
    rows = np.arange(len(labels))
    errors[rows, labels] = np.square(1.0 - a[rows, labels])
    means: Floats = errors.mean(axis=1)
    return means


def cross_entropies(a: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return minus the logarithm of the probability of each image's own class: (n,)."""
    own = a[np.arange(len(labels)), labels]
    return -np.log(np.maximum(own, np.finfo(a.dtype).tiny))


@dataclass(frozen=True)
class Loss:
    """A row of `LOSSES`.

    Attributes:
        inplace_output: activation of the last layer: z -> a.
        inplace_delta: turns a into delta of the loss of an image; may write over y and the scratch array.
        measure: loss of each image, (n, classes) and labels (n,) -> (n,).
    """

    inplace_output: Callable[[Floats], None]
    inplace_delta: Callable[[Floats, Floats, Floats], None]
    measure: Callable[[Floats, NDArray[np.int64]], Floats]


LOSSES = {
    "squared_error": Loss(inplace_sigmoid, inplace_squared_error_delta, squared_errors),
    "cross_entropy": Loss(inplace_softmax, inplace_cross_entropy_delta, cross_entropies),
}


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
        functions = [self._hidden.inplace_apply] * (len(self.layers) - 1) + [self._loss.inplace_output]
        a = x
        for (weight, bias), function, z in zip(self.layers, functions, activations, strict=True):
            np.matmul(a, weight.T, out=z)
            z += bias
            function(z)
            a = z
        return activations

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
        """Return the outputs of the last layer, (n, classes), for any number of rows."""
        features = np.asarray(features, dtype=self.layers[0][0].dtype)
        outputs = np.empty((len(features), len(self.layers[-1][1])), dtype=features.dtype)
        for start in range(0, len(features), MEASURING_BATCH):
            part = slice(start, start + MEASURING_BATCH)
            outputs[part] = self.forward(features[part])[-1]
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


def normalise_rows(outputs: Floats) -> Floats:
    """Return non-negative outputs (n, classes) divided by the sum of their row; a row of zeros becomes uniform.

    >>> normalise_rows(np.array([[0.2, 0.6], [0.0, 0.0]]))
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    tiny = np.finfo(outputs.dtype).tiny
    raised: Floats = np.maximum(outputs, tiny)
    raised /= raised.sum(axis=1, keepdims=True)
    return raised


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
    for epoch in range(1, settings.epochs + 1):
        started = time.perf_counter()
        network.train_epoch(train, settings, rng)
        seconds = time.perf_counter() - started
        on_epoch(measure_epoch(epoch, settings.epochs, seconds, network.measure, train, validation))
    return network
