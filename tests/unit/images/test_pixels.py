from __future__ import annotations

import numpy as np

from triptych.images.pixels import scale_pixels, stack_as


def test_pixels_are_scaled_to_minus_one_and_one() -> None:
    pixels = np.array([0, 255, 51], dtype=np.uint8).reshape(1, 1, 3, 1)
    np.testing.assert_allclose(scale_pixels(pixels, "float64"), [[-1.0, 1.0, -0.6]], rtol=1e-12)


def test_images_of_any_size_and_colour_are_brought_to_one_shape() -> None:
    images = [np.zeros((10, 20, 3), np.uint8), np.full((8, 8, 1), 9, np.uint8)]
    stacked = stack_as(images, (8, 8, 1))
    assert stacked.shape == (2, 8, 8, 1)
    assert stacked[1].min() == stacked[1].max() == 9
