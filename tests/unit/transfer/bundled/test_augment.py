from __future__ import annotations

import numpy as np
import torch

from triptych.transfer.bundled.augment import augment_batch, coarsen_views, find_ink_boxes


def test_ink_box_by_hand() -> None:
    image = torch.zeros(1, 28, 28, dtype=torch.uint8)
    image[0, 7:21, 14:28] = 255  # rows of the middle half, columns of the right half
    assert find_ink_boxes(image).tolist() == [[0.5, 0.0, 0.5, 0.5]]


def test_coarse_views_keep_paper_and_ink() -> None:
    views = torch.zeros(64, 1, 32, 32)
    views[:, :, :, 14:] = 1  # the edge lies in the middle of a cell
    cells = coarsen_views(views, torch.Generator().manual_seed(0))
    assert cells.shape == (64, 1, 8, 8)
    assert torch.equal(cells, torch.tensor([0, 0, 0, 0.5, 1, 1, 1, 1]).expand(64, 1, 8, 8))


def test_plain_views_are_the_images_themselves() -> None:
    images = torch.tensor(np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8))
    rng = torch.Generator().manual_seed(0)
    plain, moved, coarse = augment_batch(images, find_ink_boxes(images), 0.1, 0.5, rng)
    assert torch.equal((plain * 255).round().to(torch.uint8)[:, 0], images[:2])
    assert moved.shape == (8, 1, 28, 28)
    assert coarse.shape == (10, 1, 8, 8)
