"""Turning raw images into the inputs of networks without a backbone: thumbnails, channels, scaled rows.

A raw image is a (height, width, channels) uint8 array, 0..255, with 1 channel (gray) or 3 (RGB).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from triptych.errors import DataError

Pixels = NDArray[np.uint8]
CHANNELS = (1, 3)


def check_pixels(images: ArrayLike) -> Pixels:
    """Return images as uint8, if they are raw images.

    Args:
        images: (n, height, width, channels) whole numbers, 0..255, with 1 channel (gray) or 3 (RGB).

    Raises:
        DataError: they have another shape, or other numbers; fractions are never cut off.

    >>> check_pixels([[[[0], [255]]]]).dtype
    dtype('uint8')
    """
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[3] not in CHANNELS:
        raise DataError(
            f"the images have the shape {array.shape}: send (n, height, width, channels) with 1 channel (gray) or 3 "
            "(RGB)"
        )
    if array.dtype.kind not in "iu":
        raise DataError(
            f"the pixels have the type {array.dtype}: send whole numbers, 0..255; multiply pixels in 0..1 by 255 and "
            "round them"
        )
    if array.size and not 0 <= array.min() <= array.max() <= 255:
        raise DataError(f"the pixels are between {array.min()} and {array.max()}: send whole numbers, 0..255")
    return array.astype(np.uint8, copy=False)


def make_thumbnail(image: Pixels, side: int) -> Pixels:
    """Return the image scaled to cover a square and cropped to it, around the centre.

    Args:
        image: (height, width, channels) uint8.
        side: side of the square, pixels.

    Returns:
        (side, side, channels) uint8.

    >>> make_thumbnail(np.zeros((40, 60, 3), dtype=np.uint8), 32).shape
    (32, 32, 3)
    """
    if image.shape[:2] == (side, side):
        return image
    mode = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    square = ImageOps.fit(mode, (side, side), method=Image.Resampling.BILINEAR)
    return np.asarray(square).reshape(side, side, image.shape[2])


def match_channels(image: Pixels, channels: int) -> Pixels:
    """Return the image with 1 channel (luma of ITU-R BT.601, as Pillow's "L") or 3 channels (gray repeated).

    >>> match_channels(np.array([[[255, 0, 0]]], dtype=np.uint8), 1).tolist()
    [[[76]]]
    """
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]


def stack_as(images: Sequence[Pixels] | Pixels, shape: tuple[int, int, int]) -> Pixels:
    """Return images of any size as one array of the shape that a network was trained on.

    Args:
        images: raw images, each (height, width, channels) uint8.
        shape: (height, width, channels) of the result; if it is square, images become thumbnails.

    Returns:
        (n, height, width, channels) uint8.

    Raises:
        DataError: the network takes rectangular images, and an image has another size.

    >>> stack_as([np.zeros((40, 60, 3), dtype=np.uint8), np.zeros((8, 8, 1), dtype=np.uint8)], (8, 8, 1)).shape
    (2, 8, 8, 1)
    """
    height, width, channels = shape
    stacked = np.empty((len(images), *shape), dtype=np.uint8)
    for row, image in zip(stacked, images, strict=True):
        if image.shape[:2] != (height, width) and height != width:
            raise DataError(
                f"an image has {image.shape[0]} x {image.shape[1]} pixels: "
                f"this network takes {height} x {width} only, so resize it"
            )
        fitted = image if image.shape[:2] == (height, width) else make_thumbnail(image, height)
        row[:] = match_channels(fitted, channels)
    return stacked


# The numbers that the pixel values 0 and 255 are scaled to.
INPUT_RANGES = {"symmetric": (-1.0, 1.0), "unit": (0.0, 1.0)}


def scale_pixels(pixels: Pixels, dtype: str = "float32", input_range: str = "symmetric") -> NDArray[np.floating]:
    """Return pixels as one row per image, scaled from 0..255 to [-1, 1] or [0, 1].

    Args:
        pixels: (n, height, width, channels) uint8.
        dtype: number format of the result.
        input_range: a row of `INPUT_RANGES`.

    Returns:
        (n, height * width * channels) of `dtype`.

    >>> scale_pixels(np.array([[[[0], [255]]]], dtype=np.uint8)).tolist()
    [[-1.0, 1.0]]
    """
    rows = pixels.reshape(len(pixels), -1).astype(dtype)
    low, high = INPUT_RANGES[input_range]
    rows *= (high - low) / 255.0
    rows += low
    return rows
