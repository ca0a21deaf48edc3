"""A multilayer perceptron by hand: forward, backward and update, one line an equation.

Notation of Raschka, Liu, Mirjalili, "Machine Learning with PyTorch and Scikit-Learn", chapter 11, for any
number of layers l = 1..L, with a(0) = x and one image a row:

    forward     z(l) = a(l-1) W(l)^T + b(l)                    a(l) = activation(z(l))
    backward    delta(L) = dLoss/da(L) * da(L)/dz(L)
                dLoss/dW(l) = delta(l)^T a(l-1)                dLoss/db(l) = sum of delta(l) over the batch
                delta(l-1) = delta(l) W(l) * da(l-1)/dz(l-1)
    update      W(l) <- W(l) - learning rate * dLoss/dW(l)     b(l) alike

With dropout every hidden activation is multiplied by a mask m(l) of zeros and 1 / (1 - p): a(l) becomes
m(l) activation(z(l)), and da(l)/dz(l) gets the same factor.

With weights the loss of each image is multiplied by its weight w, and so is its row of delta(L).

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

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from triptych.networks.initialisation import Layer, name_layers, read_layers
from triptych.networks.minibatches import (
    Examples,
    Measured,
    check_step,
    inplace_draw_mask,
    mean_loss,
    shuffle_minibatches,
)
from triptych.networks.numpy_functions import ACTIVATIONS, LOSSES, Floats, log_losses, normalise_rows

if TYPE_CHECKING:
    from triptych.config.trainers import MLPConfig

# Images per matrix product when measuring: enough to be fast, few enough for the processor's cache.
MEASURING_BATCH = 4096


class Dropout(NamedTuple):
    """The hidden units that are dropped in one training step.

    Attributes:
        kept: probability of keeping a hidden unit.
        masks: for each hidden layer (batch, units) of 0 and 1 / kept; empty where nothing is dropped.
    """

    kept: float
    masks: Sequence[Floats]


NO_DROPOUT = Dropout(1.0, ())


class Buffers:
    """The arrays that a training step writes, for batches of up to `rows` images.

    Attributes:
        rows: (rows,) int64, 0..rows-1.
        input_mask: (rows, inputs), the dropout mask of the inputs.
        masks: (rows, units) of each hidden layer, the dropout masks.
        activations: (rows, units) of each layer, a(1)..a(L).
        scratches: (rows, units) of each layer, intermediate results of the backward pass.
        targets: (rows, classes), one-hot.
    """

    def __init__(self, rows: int, sizes: Sequence[int], dtype: np.dtype[Any]) -> None:
        """Allocate the arrays.

        Args:
            rows: the largest batch.
            sizes: units of the input, of each hidden layer and of the output.
            dtype: number format of the network.
        """
        inputs, *units = sizes
        self.rows = np.arange(rows)
        self.input_mask = np.empty((rows, inputs), dtype)
        self.masks = [np.empty((rows, size), dtype) for size in units[:-1]]
        self.activations = [np.empty((rows, size), dtype) for size in units]
        self.scratches = [np.empty((rows, size), dtype) for size in units]
        self.targets = np.empty((rows, units[-1]), dtype)


class NumpyMLP:
    """A multilayer perceptron, trained by minibatch stochastic gradient descent.

    Attributes:
        layers: weight (outputs, inputs) and bias (outputs,) of each layer; training changes them in place.

    >>> network = NumpyMLP([(np.zeros((1, 2)), np.zeros(1)), (np.zeros((2, 1)), np.zeros(2))])
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
        """Copy the layers.

        Args:
            layers: weight (outputs, inputs) and bias (outputs,) of each layer, from the input side.
            activation: of the hidden layers, a row of `ACTIVATIONS`.
            loss: a row of `LOSSES`, which also sets the activation of the last layer.
            loss_reduction: "sum" (the book) or "mean" (`torch.nn.MSELoss`) of the squared error over the
                outputs of an image; cross-entropy has only one term per image.
        """
        self.names = {"activation": activation, "loss": loss, "loss_reduction": loss_reduction}
        self._hidden = ACTIVATIONS[activation]
        self._loss = LOSSES[loss]
        sizes = [layers[0][0].shape[1], *(len(bias) for _, bias in layers)]
        self._loss_scale = 1.0 / sizes[-1] if (loss, loss_reduction) == ("squared_error", "mean") else 1.0
        # All weights and biases are one vector, which an update changes at once; the layers are views of it.
        self._parameters = np.concatenate([part for weight, bias in layers for part in (weight.T.ravel(), bias)])
        self._gradient, self._velocity, self._scaled = (np.zeros_like(self._parameters) for _ in range(3))
        self.layers = view_layers(self._parameters, sizes)
        self._gradients = view_layers(self._gradient, sizes)
        self._sizes = sizes
        self._buffers = Buffers(0, sizes, self._parameters.dtype)

    def forward(self, x: Floats, dropout: Dropout = NO_DROPOUT) -> list[Floats]:
        """Return a(1)..a(L) for a batch: (batch, units of the layer) each, views that the next call overwrites.

        Args:
            x: (batch, inputs), of the dtype of the weights.
            dropout: the masks of a(1)..a(L-1); without them nothing is dropped.
        """
        activations = [buffer[: len(x)] for buffer in self._reserve(len(x)).activations]
        self._fill(x, activations, dropout)
        return activations

    def _fill(self, x: Floats, activations: Sequence[Floats], dropout: Dropout = NO_DROPOUT) -> None:
        """Write a(1)..a(L) for a batch into the caller's arrays; the network does not change."""
        functions = [self._hidden.inplace_apply] * (len(self.layers) - 1) + [self._loss.inplace_output]
        a = x
        for layer, ((weight, bias), function, z) in enumerate(zip(self.layers, functions, activations, strict=True)):
            np.matmul(a, weight.T, out=z)  # z(l) = a(l-1) W(l)^T
            z += bias  # ... + b(l)
            function(z)  # a(l) = activation(z(l))
            if layer < len(dropout.masks):
                z *= dropout.masks[layer]  # m(l) a(l)
            a = z

    def backward(
        self,
        x: Floats,
        activations: Sequence[Floats],
        y: Floats,
        dropout: Dropout = NO_DROPOUT,
        weights: Floats | None = None,
    ) -> None:
        """Write the gradient of the batch's mean loss over the old one; consumes the activations and y.

        Args:
            x: (batch, inputs).
            activations: the result of `forward` for x.
            y: (batch, classes) one-hot targets.
            dropout: the masks that `forward` used.
            weights: (batch,), by which the loss of each image is multiplied; None if all count alike.
        """
        scratches = [buffer[: len(x)] for buffer in self._buffers.scratches]
        delta = activations[-1]
        self._loss.inplace_delta(delta, y, scratches[-1])  # delta(L) = dLoss/da(L) da(L)/dz(L)
        delta *= self._loss_scale / len(x)
        if weights is not None:
            delta *= weights[:, None]  # w delta(L)
        for layer in reversed(range(len(self.layers))):
            weight_gradient, bias_gradient = self._gradients[layer]
            a = activations[layer - 1] if layer else x
            np.matmul(a.T, delta, out=weight_gradient.T)  # dLoss/dW(l) = delta(l)^T a(l-1)
            np.add.reduce(delta, axis=0, out=bias_gradient)  # dLoss/db(l) = sum of delta(l) over the batch
            if layer:
                earlier = scratches[layer - 1]
                if dropout.masks:
                    a *= dropout.kept  # undoes the mask's factor, as the slope is that of the activation itself
                self._hidden.inplace_slope(a, earlier)  # da(l-1)/dz(l-1)
                np.matmul(delta, self.layers[layer][0], out=earlier)  # delta(l-1) = delta(l) W(l)
                earlier *= a  # ... da(l-1)/dz(l-1)
                if dropout.masks:
                    earlier *= dropout.masks[layer - 1]
                delta = earlier

    def update(self, learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        """Take one step down the gradient: v <- momentum v + gradient + weight decay W, W <- W - learning rate v."""
        gradient, velocity, scaled = self._gradient, self._velocity, self._scaled
        if weight_decay:
            gradient += np.multiply(self._parameters, weight_decay, out=scaled)  # gradient + weight decay W
        if momentum:
            velocity *= momentum  # v <- momentum v
            velocity += gradient  # ... + gradient
            gradient = velocity
        self._parameters -= np.multiply(gradient, learning_rate, out=scaled)  # W <- W - learning rate v

    def differentiate(
        self, x: Floats, y: Floats, dropout: Dropout = NO_DROPOUT, weights: Floats | None = None
    ) -> list[Layer]:
        """Return the gradient of the mean loss of a batch by the weight and bias of each layer.

        Args:
            x: (batch, inputs).
            y: (batch, classes) one-hot targets.
            dropout: the masks of a(1)..a(L-1); without them nothing is dropped.
            weights: (batch,), by which the loss of each image is multiplied; None if all count alike.
        """
        self.backward(x, self.forward(x, dropout), y.copy(), dropout, weights)
        return [(weight.copy(), bias.copy()) for weight, bias in self._gradients]

    def train_epoch(self, train: Examples, settings: MLPConfig, learning_rate: float, rng: np.random.Generator) -> None:
        """Shuffle the training set, and take one step per batch.

        Args:
            train: features (n, inputs), labels (n,), and perhaps weights (n,).
            settings: batch size, momentum, weight decay and dropout.
            learning_rate: for this epoch.
            rng: draws the order, then the dropout masks of each batch.

        Raises:
            NonFiniteStepError: the gradient is infinite or not a number.
        """
        features = np.asarray(train.features)
        batch = np.empty((settings.batch_size, self._sizes[0]), dtype=self._parameters.dtype)
        last_bias_gradient = self._gradients[-1][1]
        for step, indices in enumerate(shuffle_minibatches(len(train), settings.batch_size, rng), start=1):
            x = batch[: len(indices)]
            np.take(features, indices, axis=0, out=x, mode="clip")
            y = self._encode_targets(train.labels[indices])
            dropout = self._draw_dropout(x, settings, rng)
            self.backward(x, self.forward(x, dropout), y, dropout, train.weights_of(indices))
            self.update(learning_rate, settings.momentum, settings.weight_decay)
            check_step(last_bias_gradient @ last_bias_gradient, step)

    def copy_state(self) -> dict[str, Floats]:
        """Return copies of the parameters and of their velocity, each (parameters,)."""
        return {"parameters": self._parameters.copy(), "velocity": self._velocity.copy()}

    def restore_state(self, state: dict[str, Floats]) -> None:
        """Restore a state from `copy_state`."""
        self._parameters[...] = state["parameters"]
        self._velocity[...] = state["velocity"]

    def predict_outputs(self, features: Floats) -> Floats:
        """Return the outputs of the last layer, (n, classes), for any number of rows.

        Each call allocates its own buffers, because several threads may use a served network at once.
        """
        features = np.asarray(features, dtype=self._parameters.dtype)
        outputs = np.empty((len(features), len(self.layers[-1][1])), dtype=features.dtype)
        rows = min(len(features), MEASURING_BATCH)
        hidden = [np.empty((rows, len(bias)), dtype=bias.dtype) for _, bias in self.layers[:-1]]
        for start in range(0, len(features), MEASURING_BATCH):
            part = slice(start, start + MEASURING_BATCH)
            x = features[part]
            # A sigmoid or tanh of an infinite sum is its limit. What is not a number still warns.
            with np.errstate(over="ignore"):
                self._fill(x, [*(buffer[: len(x)] for buffer in hidden), outputs[part]])
        return outputs

    def predict_proba(self, features: Floats) -> Floats:
        """Return class probabilities, (n, classes), whose rows sum to one.

        Sigmoid outputs do not sum to one; they are divided by their sum, which keeps their order.
        """
        return normalise_rows(self.predict_outputs(features))

    def measure(self, examples: Examples) -> Measured:
        """Return loss, accuracy and log loss; squared error is also averaged over the outputs."""
        outputs, labels = self.predict_outputs(np.asarray(examples.features)), examples.labels
        log_loss = loss = mean_loss(self._loss.measure(outputs, labels), examples.weights)
        if self.names["loss"] != "cross_entropy":
            truth = normalise_rows(outputs)[np.arange(len(labels)), labels]
            log_loss = mean_loss(log_losses(truth), examples.weights)
        return Measured(loss, float((outputs.argmax(axis=1) == labels).mean()), log_loss)

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

    def _draw_dropout(self, x: Floats, settings: MLPConfig, rng: np.random.Generator) -> Dropout:
        """Drop inputs of a batch in place; return the new masks of the hidden layers."""
        if settings.input_dropout:
            mask = self._buffers.input_mask[: len(x)]
            inplace_draw_mask(mask, settings.input_dropout, rng)
            x *= mask
        if not settings.dropout:
            return NO_DROPOUT
        masks = [buffer[: len(x)] for buffer in self._buffers.masks]
        for mask in masks:
            inplace_draw_mask(mask, settings.dropout, rng)
        return Dropout(1.0 - settings.dropout, masks)

    def _encode_targets(self, labels: NDArray[np.int64]) -> Floats:
        """Return one-hot targets (batch, classes), a view that the next call overwrites."""
        buffers = self._reserve(len(labels))
        y = buffers.targets[: len(labels)]
        y.fill(0.0)
        y[buffers.rows[: len(labels)], labels] = 1.0
        return y

    def _reserve(self, rows: int) -> Buffers:
        """Return the buffers; a batch that is larger than all before it gets new ones."""
        if rows > len(self._buffers.rows):
            self._buffers = Buffers(rows, self._sizes, self._parameters.dtype)
        return self._buffers


def view_layers(vector: Floats, sizes: Sequence[int]) -> list[Layer]:
    """Return the weight (outputs, inputs) and bias (outputs,) of each layer as views of one vector.

    A weight is stored transposed, because the product a W^T of the forward pass is fastest then.

    >>> [(weight, bias)] = view_layers(np.arange(8.0), sizes=(3, 2))
    >>> weight, bias
    (array([[0., 2., 4.],
           [1., 3., 5.]]), array([6., 7.]))
    """
    layers, start = [], 0
    for inputs, outputs in itertools.pairwise(sizes):
        end = start + inputs * outputs
        weight = vector[start:end].reshape(inputs, outputs).T
        layers.append((weight, vector[end : end + outputs]))
        start = end + outputs
    return layers
