"""The layers of a multilayer perceptron as arrays: initial weights, and names for files."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Layer = tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]


def draw_normal(inputs: int, outputs: int, rng: np.random.Generator) -> Layer:
    """Return N(0, 0.1) weights and zero biases (Raschka, Machine Learning with PyTorch, chapter 11)."""
    return rng.normal(loc=0.0, scale=0.1, size=(outputs, inputs)), np.zeros(outputs)


def draw_uniform_fan_in(inputs: int, outputs: int, rng: np.random.Generator) -> Layer:
    """Return weights and biases uniform in +-1/sqrt(inputs), like those of `torch.nn.Linear`."""
    bound = inputs**-0.5
    return rng.uniform(-bound, bound, size=(outputs, inputs)), rng.uniform(-bound, bound, size=outputs)


def draw_glorot_uniform(inputs: int, outputs: int, rng: np.random.Generator) -> Layer:
    """Return weights uniform in +-sqrt(6 / (inputs + outputs)) and zero biases (Glorot and Bengio 2010)."""
    bound = (6.0 / (inputs + outputs)) ** 0.5
    return rng.uniform(-bound, bound, size=(outputs, inputs)), np.zeros(outputs)


def draw_he_normal(inputs: int, outputs: int, rng: np.random.Generator) -> Layer:
    """Return N(0, sqrt(2 / inputs)) weights and zero biases, suited to ReLU (He et al. 2015)."""
    return rng.normal(loc=0.0, scale=(2.0 / inputs) ** 0.5, size=(outputs, inputs)), np.zeros(outputs)


INITIALISATIONS: dict[str, Callable[[int, int, np.random.Generator], Layer]] = {
    "normal": draw_normal,
    "uniform_fan_in": draw_uniform_fan_in,
    "glorot_uniform": draw_glorot_uniform,
    "he_normal": draw_he_normal,
}


def initialise_layers(sizes: Sequence[int], initialisation: str, dtype: str, rng: np.random.Generator) -> list[Layer]:
    """Return the initial weight and bias of every layer.

    Args:
        sizes: units of the input, of each hidden layer and of the output.
        initialisation: a row of `INITIALISATIONS`.
        dtype: dtype of the arrays; the same values are drawn for every dtype, and rounded.
        rng: draws them, layer by layer.

    Returns:
        For each layer a weight of shape (outputs, inputs) and a bias of shape (outputs,).

    >>> layers = initialise_layers((4, 3, 2), "he_normal", "float32", np.random.default_rng(0))
    >>> [(weight.shape, bias.shape) for weight, bias in layers]
    [((3, 4), (3,)), ((2, 3), (2,))]
    """
    draw = INITIALISATIONS[initialisation]
    layers = [draw(inputs, outputs, rng) for inputs, outputs in itertools.pairwise(sizes)]
    return [(weight.astype(dtype), bias.astype(dtype)) for weight, bias in layers]


def name_layers(layers: Sequence[Layer]) -> dict[str, NDArray[Any]]:
    """Return the weight and the bias of every layer by name, numbered from 1.

    >>> list(name_layers([(np.zeros((2, 3)), np.zeros(2))]))
    ['weight_1', 'bias_1']
    """
    return {
        f"{name}_{number}": array
        for number, layer in enumerate(layers, start=1)
        for name, array in zip(("weight", "bias"), layer, strict=True)
    }


def read_layers(arrays: Mapping[str, NDArray[Any]]) -> list[Layer]:
    """Return the layers from the arrays of `name_layers`."""
    return [(arrays[f"weight_{number}"], arrays[f"bias_{number}"]) for number in range(1, len(arrays) // 2 + 1)]
