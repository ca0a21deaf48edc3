"""Histograms of gradients: what a small image shows, in numbers that a linear classifier can separate."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.system.slices import iterate_slices

DIRECTIONS, CELLS = 8, 7
# Images at a time: their intermediate results fit the processor's cache.
SLICE = 64

Floats = NDArray[np.float32]


def describe_gradients(pixels: Any) -> Floats:
    """Return the histograms of gradients of images, (n, features) float32.

    An image is divided into up to 7 x 7 cells of at least two pixels. Each has the sums of its gradients in eight
    directions, as far as they are positive (after Dalal & Triggs 2005). An image is normalised, and the root taken.

    Args:
        pixels: (n, height, width, channels) uint8; channels are added up.
    """
    return np.concatenate([_describe(np.asarray(pixels[rows])) for rows in iterate_slices(len(pixels), SLICE)])


def _describe(pixels: NDArray[np.uint8]) -> Floats:
    gray = pixels.sum(axis=-1, dtype=np.float32)
    down, right = np.zeros_like(gray), np.zeros_like(gray)
    down[:, 1:-1] = gray[:, 2:] - gray[:, :-2]
    right[:, :, 1:-1] = gray[:, :, 2:] - gray[:, :, :-2]
    slopes = np.stack([right, down + right, down, down - right], axis=1)  # (n, 4, height, width), whole numbers
    rows, columns = (_assign_cells(side) for side in gray.shape[1:])
    signed = rows.T @ slopes @ columns
    ahead = rows.T @ np.maximum(slopes, 0, out=slopes) @ columns
    # What is positive in the opposite direction is what is left of the sum. All of it is exact.
    cells = np.concatenate([ahead, ahead - signed], axis=1)  # (n, directions, cells, cells)
    cells[:, 1::2] *= np.float32(0.5**0.5)
    found = cells.reshape(len(pixels), -1)
    root: Floats = np.sqrt(found / (np.linalg.norm(found, axis=1, keepdims=True) + np.float32(1e-6)))
    return root


def _assign_cells(side: int) -> Floats:
    """Return which rows or columns of an image are in which cell, (side, cells) of 0 and 1.

    >>> _assign_cells(5).T
    array([[1., 1., 0., 0., 0.],
           [0., 0., 1., 1., 1.]], dtype=float32)
    """
    cells = max(1, min(CELLS, side // 2))
    starts = np.arange(cells) * side // cells
    cell_of = np.searchsorted(starts, np.arange(side), side="right") - 1
    return np.eye(cells, dtype=np.float32)[cell_of]
