"""Random flips and crops of training images, different in every epoch.

Each image has a random generator of its own in each epoch. The result therefore depends neither on the order in which
images are read nor on the number of threads or processes that read them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from triptych.images.pixels import Pixels, match_channels
from triptych.images.preprocessing import Preprocessing

Augment = Callable[[Pixels, Preprocessing, np.random.Generator], Pixels]

FLIP_PROBABILITY = 0.5
# The ranges of torchvision's `RandomResizedCrop`, from Szegedy et al. 2015: fraction of the area, width / height.
AREAS, RATIOS = (0.08, 1.0), (3.0 / 4.0, 4.0 / 3.0)
ATTEMPTS = 10


def augment(
    image: Pixels, preprocessing: Preprocessing, augmentation: str, *, seed: int, epoch: int, index: int
) -> Pixels:
    """Return an augmented image, (crop, crop, 3) uint8; the same arguments give the same pixels.

    Args:
        image: (height, width, channels) uint8.
        preprocessing: sizes and interpolation.
        augmentation: a row of `AUGMENTATIONS`.
        seed: of the training.
        epoch: from 1.
        index: of the image in its data set.
    """
    return AUGMENTATIONS[augmentation](image, preprocessing, np.random.default_rng((seed, epoch, index)))


def draw_box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return a random box (left, top, right, bottom), distributed as in torchvision's `RandomResizedCrop`.

    If ten boxes in a row don't fit into the image, return the largest central box with an allowed ratio.

    Args:
        width: of the image, pixels.
        height: of the image, pixels.
        rng: draws the box.

    >>> draw_box(1000, 10, np.random.default_rng(0))
    (493, 0, 506, 10)
    """
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(*AREAS)
        ratio = math.exp(rng.uniform(math.log(RATIOS[0]), math.log(RATIOS[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    ratio = min(max(width / height, RATIOS[0]), RATIOS[1])
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _flip(image: Pixels, preprocessing: Preprocessing, rng: np.random.Generator) -> Pixels:
    return _flip_sometimes(preprocessing.crop(image), rng)


def _crop_and_flip(image: Pixels, preprocessing: Preprocessing, rng: np.random.Generator) -> Pixels:
    opened = Image.fromarray(match_channels(image, 3))
    box = draw_box(opened.width, opened.height, rng)
    size = (preprocessing.crop_size, preprocessing.crop_size)
    resized = opened.crop(box).resize(size, Image.Resampling[preprocessing.interpolation.upper()])
    return _flip_sometimes(np.asarray(resized), rng)


def _flip_sometimes(crop: Pixels, rng: np.random.Generator) -> Pixels:
    return crop[:, ::-1] if rng.random() < FLIP_PROBABILITY else crop


AUGMENTATIONS: dict[str, Augment] = {
    "none": lambda image, preprocessing, rng: preprocessing.crop(image),
    "flip": _flip,
    "crop_and_flip": _crop_and_flip,
}
