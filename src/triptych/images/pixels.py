"""Raw images, and what becomes of them before a network without a backbone sees them.

A raw image is a (height, width, channels) uint8 array, 0..255, with 1 channel (gray) or 3 (RGB).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from triptych.errors import DataError

Pixels = NDArray[np.uint8]


def make_thumbnail(image: Pixels, side: int) -> Pixels:
    """Return the image scaled to cover a square and cut out of its middle.

    Args:
        image: (height, width, channels) uint8.
        side: side of the square, pixels.

    Returns:
        (side, side, channels) uint8.
    """
    if image.shape[:2] == (side, side):
        return image
    mode = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    square = ImageOps.fit(mode, (side, side), method=Image.Resampling.BILINEAR)
    return np.asarray(square).reshape(side, side, image.shape[2])


def match_channels(image: Pixels, channels: int) -> Pixels:
    """Return the image with 1 (luma of ITU-R BT.601, as Pillow's "L") or 3 channels (gray repeated)."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]


def stack_as(images: Sequence[Pixels] | Pixels, shape: tuple[int, int, int]) -> Pixels:
    """Return images of any sizes as one array of the shape that a network was trained on.

    Args:
        images: raw images, each (height, width, channels) uint8.
        shape: (height, width, channels) to bring them to; photos are cut to a square thumbnail.

    Returns:
        (n, height, width, channels) uint8.

    Raises:
        DataError: the network wants oblong images of another size.
    """
    height, width, channels = shape
    stacked = np.empty((len(images), *shape), dtype=np.uint8)
    for row, image in zip(stacked, images, strict=True):
        if image.shape[:2] != (height, width) and height != width:
            raise DataError(f"image of {image.shape[:2]} pixels: this network takes {height} x {width} only")
        fitted = image if image.shape[:2] == (height, width) else make_thumbnail(image, height)
        row[:] = match_channels(fitted, channels)
    return stacked


# What the pixel values 0 and 255 become.
INPUT_RANGES = {"symmetric": (-1.0, 1.0), "unit": (0.0, 1.0)}


def scale_pixels(pixels: Pixels, dtype: str = "float32", input_range: str = "symmetric") -> NDArray[np.floating]:
    """Return pixels as one row per image, scaled from 0..255 to [-1, 1] or [0, 1].

    Args:
        pixels: (n, height, width, channels) uint8.
        dtype: number format of the result.
        input_range: a row of `INPUT_RANGES`.

    Returns:
        (n, height * width * channels) of `dtype`.
    """
    rows = pixels.reshape(len(pixels), -1).astype(dtype)
    low, high = INPUT_RANGES[input_range]
    rows *= (high - low) / 255.0
    rows += low
    return rows
