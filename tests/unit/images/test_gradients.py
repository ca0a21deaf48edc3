from __future__ import annotations

import numpy as np

from triptych.images.gradients import CELLS, DIRECTIONS, describe_gradients


def test_a_vertical_edge_has_its_gradient_to_the_right_in_the_cells_of_the_edge() -> None:
    image = np.zeros((1, 14, 14, 3), dtype=np.uint8)
    image[:, :, 7:] = 200
    found = describe_gradients(image).reshape(DIRECTIONS, CELLS, CELLS)
    assert found.argmax(axis=0)[1:-1, 3].tolist() == [0] * 5
    assert not found[:, :, [0, 1, 5, 6]].any()


def test_darker_images_have_the_same_histograms() -> None:
    image = np.random.default_rng(0).integers(0, 100, (40, 9, 8, 1), dtype=np.uint8)
    np.testing.assert_allclose(describe_gradients(image), describe_gradients(2 * image), atol=1e-4)
