"""A window of a resized picture without the rest of it, which would not fit into memory.

A picture of 30,000 x 1 pixels becomes 7,680,000 x 256 pixels when its shorter side is resized to 256, and all but the
middle is cut off again. The arithmetic is that of Pillow's `Image.resize` for 8 bits, in the same order (Pillow's
src/libImaging/Resample.c): weights in fixed point, the rows first, rounded to 8 bits, then the columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from triptych.images.pixels import Pixels

PRECISION_BITS = 32 - 8 - 2


def _bilinear(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _bicubic(x: float) -> float:
    a, x = -0.5, abs(x)
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0


# By torchvision's name: the filter, and how far it reaches to each side.
FILTERS: dict[str, tuple[Callable[[float], float], float]] = {"bilinear": (_bilinear, 1.0), "bicubic": (_bicubic, 2.0)}


def resize_window(image: Pixels, size: tuple[int, int], box: tuple[int, int, int, int], interpolation: str) -> Pixels:
    """Return what Pillow's `image.resize(size).crop(box)` returns, bit for bit.

    Args:
        image: (height, width, channels) uint8.
        size: width and height of the resized picture, pixels.
        box: left, top, right and bottom of the window in it; what lies outside is black.
        interpolation: a row of `FILTERS`.

    >>> resize_window(np.full((1, 30_000, 3), 9, np.uint8), (7_680_000, 256), (0, 0, 2, 2), "bilinear").max()
    np.uint8(9)
    """
    left, top, right, bottom = box
    window = np.zeros((bottom - top, right - left, image.shape[2]), dtype=np.uint8)
    columns, rows = range(max(left, 0), min(right, size[0])), range(max(top, 0), min(bottom, size[1]))
    height, width = image.shape[:2]
    passes = [(0, _weigh(height, size[1], rows, interpolation)), (1, _weigh(width, size[0], columns, interpolation))]
    for axis, weighed in passes:
        needed = slice(weighed[0].first, max(one.first + len(one.weights) for one in weighed))
        image = image[needed] if axis == 0 else image[:, needed]
    # Found by comparing: Pillow begins with the columns of pixels if that leaves less to do.
    if not 0 < height - size[1] > 2 * (width - size[0]):
        passes.reverse()
    for axis, weighed in passes:
        image = _resize_axis(image, axis, weighed)
    window[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image
    return window


class Weighed(NamedTuple):
    """The pixels that one pixel of a resized axis is made of: the first of them, and the weight of each, (n,) int64."""

    first: int
    weights: NDArray[np.int64]


def _resize_axis(image: Pixels, axis: int, weighed: list[Weighed]) -> Pixels:
    """Return an image with other pixels along one axis; the image begins with the first pixel that is needed."""
    lines = np.moveaxis(image, axis, 0)
    resized = np.empty((len(weighed), *lines.shape[1:]), dtype=np.uint8)
    for row, (first, weights) in enumerate(weighed):
        start = first - weighed[0].first
        summed = np.tensordot(weights, lines[start : start + len(weights)].astype(np.int64), axes=1)
        resized[row] = ((summed + (1 << (PRECISION_BITS - 1))) >> PRECISION_BITS).clip(0, 255)
    return np.moveaxis(resized, 0, axis)


def _weigh(pixels: int, length: int, chosen: range, interpolation: str) -> list[Weighed]:
    """Return what each of the chosen pixels is made of, if an axis of some pixels is resized to a length."""
    if pixels == length:
        return [Weighed(one, np.array([1 << PRECISION_BITS])) for one in chosen]
    kernel, reach = FILTERS[interpolation]
    scale = pixels / length
    stretch = max(scale, 1.0)
    weighed = []
    for one in chosen:
        center = (one + 0.5) * scale
        first = max(0, int(center - reach * stretch + 0.5))
        last = min(pixels, int(center + reach * stretch + 0.5))
        values = [kernel((x - center + 0.5) * (1.0 / stretch)) for x in range(first, last)]
        total = 0.0
        for value in values:  # in Pillow's order: a sum by another one has other bits
            total += value
        fixed = [value / total * (1 << PRECISION_BITS) for value in values]
        weighed.append(Weighed(first, np.array([int(math.copysign(0.5, value) + value) for value in fixed])))
    return weighed
