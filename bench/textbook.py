"""A textbook implementation of the network, clear but slow: one-hot targets in a loop, new arrays in every step.

After Raschka, Liu, Mirjalili, "Machine Learning with PyTorch and Scikit-Learn", chapter 11, with any number of
hidden layers; float64 throughout. The benchmarks compare the project's own network with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z))."""
    return np.asarray(1.0 / (1.0 + np.exp(-z)))


def encode_one_hot(labels: Array, classes: int) -> Array:
    """Return labels (n,) as one-hot rows, (n, classes) float64."""
    encoded = np.zeros((labels.shape[0], classes))
    for row, label in enumerate(labels):
        encoded[row, label] = 1
    return encoded


class TextbookMLP:
    """A multilayer perceptron with sigmoid activations, squared error and plain gradient descent."""

    def __init__(self, layers: Sequence[tuple[Array, Array]]) -> None:
        """Copy weights (outputs, inputs) and biases (outputs,) as float64."""
        self.layers = [(weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in layers]

    def forward(self, x: Array) -> list[Array]:
        """Return the activations of every layer, each (n, units), the input first."""
        activations = [x]
        for weight, bias in self.layers:
            activations.append(sigmoid(np.dot(activations[-1], weight.T) + bias))
        return activations

    def backward(self, activations: Sequence[Array], labels: Array) -> list[tuple[Array, Array]]:
        """Return the gradients of the loss with respect to weights and biases, the last layer first."""
        targets = encode_one_hot(labels, len(self.layers[-1][1]))
        loss_by_output = 2.0 * (activations[-1] - targets) / targets.shape[0]
        gradients = []
        for layer in reversed(range(len(self.layers))):
            output = activations[layer + 1]
            delta = loss_by_output * output * (1.0 - output)
            gradients.append((np.dot(delta.T, activations[layer]), np.sum(delta, axis=0)))
            loss_by_output = np.dot(delta, self.layers[layer][0])
        return gradients

    def train_epoch(self, x: Array, labels: Array, order: Array, batch_size: int, learning_rate: float) -> None:
        """Take one gradient step for each batch, in the given order of examples."""
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            gradients = self.backward(self.forward(x[rows]), labels[rows])
            self.layers = [
                (weight - learning_rate * weight_gradient, bias - learning_rate * bias_gradient)
                for (weight, bias), (weight_gradient, bias_gradient) in zip(self.layers, gradients[::-1], strict=True)
            ]

    def score(self, x: Array, labels: Array) -> float:
        """Return the accuracy."""
        return float((self.forward(x)[-1].argmax(axis=1) == labels).mean())
