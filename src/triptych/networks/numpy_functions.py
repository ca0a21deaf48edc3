"""Activations and losses by hand, each with its slope, written in place; variants are rows of tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


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


def log_losses(truth: Floats) -> NDArray[np.float64]:
    """Return minus the logarithm of probabilities of true classes, (n,) float64, clipped as scikit-learn clips float64.

    >>> log_losses(np.array([1.0, 0.5])).round(4)
    array([0.    , 0.6931])
    """
    smallest = np.finfo(np.float64).eps
    return -np.log(np.clip(truth.astype(np.float64), smallest, 1.0 - smallest))


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
