"""What is done to an image before a training step sees it: each epoch another flip, another cut.

All randomness of an image in an epoch comes from a generator of its own, so that neither the order in which
images are read, nor the number of threads or processes that read them, changes anything.
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
# Of torchvision's `RandomResizedCrop`, from Szegedy et al. 2015: parts of the area, and width to height.
AREAS, RATIOS = (0.08, 1.0), (3.0 / 4.0, 4.0 / 3.0)
ATTEMPTS = 10


def augment(
    image: Pixels, preprocessing: Preprocessing, augmentation: str, *, seed: int, epoch: int, index: int
) -> Pixels:
    """Return an image as a training step sees it in one epoch, (crop, crop, 3) uint8.

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
    """Return a random box (left, top, right, bottom) as torchvision's `RandomResizedCrop` draws it.

    Where none fits in ten attempts, it is the largest one in the middle with a ratio that is allowed.
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


def _crop(image: Pixels, preprocessing: Preprocessing, rng: np.random.Generator) -> Pixels:
    del rng
    return preprocessing.crop(image)


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


AUGMENTATIONS: dict[str, Augment] = {"none": _crop, "flip": _flip, "crop_and_flip": _crop_and_flip}
