"""What the by-hand network and its PyTorch twin share: layer sizes and initial weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Layer = tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]


def draw_normal(inputs: int, outputs: int, rng: np.random.Generator) -> Layer:
    """Return N(0, 0.1) weights and zero biases (Raschka, Machine Learning with PyTorch, chapter 11)."""
    return rng.normal(loc=0.0, scale=0.1, size=(outputs, inputs)), np.zeros(outputs)


def draw_uniform_fan_in(inputs: int, outputs: int, rng: np.random.Generator) -> Layer:
    """Return weights and biases uniform within 1/sqrt(inputs), the distribution of `torch.nn.Linear`."""
    bound = inputs**-0.5
    return rng.uniform(-bound, bound, size=(outputs, inputs)), rng.uniform(-bound, bound, size=outputs)


def draw_glorot_uniform(inputs: int, outputs: int, rng: np.random.Generator) -> Layer:
    """Return weights uniform within sqrt(6 / (inputs + outputs)) and zero biases (Glorot and Bengio 2010)."""
    bound = (6.0 / (inputs + outputs)) ** 0.5
    return rng.uniform(-bound, bound, size=(outputs, inputs)), np.zeros(outputs)


def draw_he_normal(inputs: int, outputs: int, rng: np.random.Generator) -> Layer:
    """Return N(0, sqrt(2 / inputs)) weights and zero biases, made for ReLU (He et al. 2015)."""
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
        dtype: number format of the arrays; the draws are the same in each.
        rng: the generator that they are drawn from, layer by layer.

    Returns:
        For each layer a weight of shape (outputs, inputs) and a bias of shape (outputs,).
    """
    draw = INITIALISATIONS[initialisation]
    layers = [draw(inputs, outputs, rng) for inputs, outputs in itertools.pairwise(sizes)]
    return [(weight.astype(dtype), bias.astype(dtype)) for weight, bias in layers]
