"""The digits of MNIST: load, split and preprocess them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from triptych.data.idx import load_idx_directory
from triptych.images.pixels import Pixels
from triptych.images.preprocessing import Preprocessing

SIDE_PIXELS = 48
HELD_OUT_FRACTION = 1 / 12  # 5,000 of MNIST's 60,000


@dataclass(frozen=True)
class Digits:
    """Images of handwritten digits and their labels.

    Attributes:
        images: (n, height, width, 1) uint8, 0..255, bright ink on dark paper.
        labels: (n,) int64, 0..9.
    """

    images: Pixels
    labels: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Digits:
        """Return the images at `rows`, (k,) int64."""
        return Digits(self.images[rows], self.labels[rows])


def load_digits(folder: Path) -> tuple[Digits, Digits]:
    """Return the training and the test set of the IDX files in a folder.

    Raises:
        DataError: a file is missing or damaged.
    """
    dataset = load_idx_directory(folder)
    images = np.stack([dataset.images[row] for row in range(len(dataset.images))])
    everything = Digits(images, dataset.labels)
    training, test = (everything.take(np.flatnonzero(dataset.parts == part)) for part in ("train", "test"))
    return training, test


def split_digits(digits: Digits, rng: np.random.Generator) -> tuple[Digits, Digits]:
    """Return a random training set and held-out part, each in the original order."""
    order = rng.permutation(len(digits.labels))
    held_out = round(len(order) * HELD_OUT_FRACTION)
    return digits.take(np.sort(order[held_out:])), digits.take(np.sort(order[:held_out]))


def measure_preprocessing(images: Pixels) -> Preprocessing:
    """Return the preprocessing that standardises by the mean and standard deviation of these images.

    Args:
        images: (n, height, width, 1) uint8.
    """
    levels = np.bincount(images.reshape(-1), minlength=256) / images.size
    values = np.arange(256) / 255
    mean = float(levels @ values)
    std = math.sqrt(float(levels @ (values - mean) ** 2))
    return Preprocessing(SIDE_PIXELS, SIDE_PIXELS, (round(mean, 4),) * 3, (round(std, 4),) * 3, "bilinear")


def prepare_batch(views: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Apply to a batch of gray views what `preprocessing` does to one image.

    Args:
        views: (n, 1, height, width) float32, 0..1.
        preprocessing: the preprocessing of the network.

    Returns:
        (n, 3, side, side) float32 in channels-last order, in which training is twice as fast.
    """
    side = preprocessing.resize_size
    resized = functional.interpolate(views, (side, side), mode="bilinear", antialias=True)
    rounded = (resized * 255).round() / 255  # to 8 bits, as Pillow does
    scaled: Tensor = (rounded - preprocessing.mean[0]) / preprocessing.std[0]
    return scaled.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
