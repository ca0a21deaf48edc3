"""Augmentation of digits: unchanged, transformed and cropped towards the ink, or downsampled to 8 x 8 cells."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

INK_LEVEL = 64  # 0..255: pixels up to this level count as paper


def find_ink_boxes(images: Tensor) -> Tensor:
    """Return the bounding box of the ink of each image.

    Args:
        images: (n, height, width) uint8.

    Returns:
        (n, 4) float32: centre x, centre y, half width, half height; the image spans -1..1.
    """
    ink = images > INK_LEVEL
    spans = []
    for crossed in (1, 2):
        line = ink.any(crossed).float()  # (n, width), then (n, height)
        length = line.shape[1]
        first, last = line.argmax(1), length - line.flip(1).argmax(1)
        spans.append(((first + last) / length - 1, (last - first) / length))
    (centre_x, half_x), (centre_y, half_y) = spans
    return torch.stack([centre_x, centre_y, half_x, half_y], dim=1)


def draw_uniform(count: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    """Draw (count,) float32 uniformly from low..high."""
    return low + (high - low) * torch.rand(count, generator=rng)


def draw_windows(boxes: Tensor, rng: torch.Generator) -> Tensor:
    """Draw a window for each image, between the whole image and its ink box, rotated, scaled, sheared and shifted.

    Args:
        boxes: (n, 4) float32, from `find_ink_boxes`.
        rng: source of randomness.

    Returns:
        (n, 2, 3) float32: affine maps from coordinates of the view to coordinates of the image.
    """
    n = len(boxes)
    tightness = draw_uniform(n, 0, 2, rng).clamp(max=1)
    centre, half = boxes[:, :2], boxes[:, 2:]
    tall = half[:, 1]
    wide = torch.maximum(half[:, 0], tall * draw_uniform(n, 0.8, 1.3, rng))
    size = torch.lerp(torch.ones(n, 2), torch.stack([wide, tall], 1), tightness[:, None])
    size = size * torch.stack([draw_uniform(n, 0.85, 1.15, rng), draw_uniform(n, 0.9, 1.1, rng)], 1)
    shift = centre * tightness[:, None] + size * (0.3 * torch.rand(n, 2, generator=rng) - 0.15)
    angle = draw_uniform(n, -0.25, 0.25, rng)  # radians
    shear = draw_uniform(n, -0.2, 0.2, rng)
    turn = torch.stack([angle.cos(), shear - angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
    return torch.cat([size[:, :, None] * turn, shift[:, :, None]], 2)


def view_windows(images: Tensor, windows: Tensor, side: int) -> Tensor:
    """Sample images through windows.

    Args:
        images: (n, 1, height, width) float32.
        windows: (n, 2, 3) float32, from `draw_windows`.
        side: height and width of the result.

    Returns:
        (n, 1, side, side) float32.
    """
    grid = functional.affine_grid(windows, [len(images), 1, side, side], align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def coarsen_views(views: Tensor, rng: torch.Generator) -> Tensor:
    """Downsample 32 x 32 views in the way scikit-learn's digits were: sharpen, then average cells of 4 x 4 pixels.

    Args:
        views: (n, 1, 32, 32) float32, 0..1.
        rng: source of each view's threshold and sharpness, and of whether it is rounded to 17 levels.

    Returns:
        (n, 1, 8, 8) float32, 0..1.
    """
    n = len(views)
    # Within these bounds paper remains 0 and full ink remains 1.
    threshold, gain = draw_uniform(n, 0.25, 0.75, rng), draw_uniform(n, 2, 8, rng)
    sharp = ((views - threshold.view(n, 1, 1, 1)) * gain.view(n, 1, 1, 1) + 0.5).clamp(0, 1)
    cells = functional.avg_pool2d(sharp, 4)
    quantised = torch.rand(n, generator=rng) < 0.5
    return torch.where(quantised.view(n, 1, 1, 1), (cells * 16).round() / 16, cells)


def augment_batch(
    images: Tensor, boxes: Tensor, plain_fraction: float, coarse_fraction: float, rng: torch.Generator
) -> Iterator[Tensor]:
    """Yield a batch in three pieces of different sizes: unchanged, seen through windows, and coarse.

    Args:
        images: (n, h, w) uint8.
        boxes: (n, 4) float32, from `find_ink_boxes`.
        plain_fraction: fraction of the images in the first piece.
        coarse_fraction: fraction of the images in the last piece.
        rng: source of randomness.

    Yields:
        (k, 1, side, side) float32, 0..1; together n views in the order of the images.
    """
    gray = images[:, None].float() / 255
    plain = round(len(gray) * plain_fraction)
    coarse = len(gray) - round(len(gray) * coarse_fraction)
    windows = draw_windows(boxes, rng)
    yield gray[:plain]
    yield view_windows(gray[plain:coarse], windows[plain:coarse], gray.shape[2])
    yield coarsen_views(view_windows(gray[coarse:], windows[coarse:], 32), rng)
