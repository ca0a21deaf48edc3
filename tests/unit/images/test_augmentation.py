from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.images.augmentation import AUGMENTATIONS, augment, draw_box
from triptych.images.prefetch import load_batches
from triptych.images.preprocessing import Preprocessing
from triptych.images.sources import ArrayImages

SMALL = Preprocessing(48, 48, (0.5,) * 3, (0.25,) * 3, "bilinear")


@pytest.fixture(scope="module")
def images() -> ArrayImages:
    return ArrayImages(np.random.default_rng(0).integers(0, 256, size=(11, 52, 60, 3), dtype=np.uint8))


@pytest.mark.parametrize("how", AUGMENTATIONS)
def test_augmentation_depends_on_seed_epoch_and_image_alone(images: ArrayImages, how: str) -> None:
    batches = [np.array([3, 1]), np.array([7]), np.array([0, 10, 5])]

    def read(threads: int, **given: int) -> bytes:
        def load(index: int) -> Any:
            keys = {"seed": 1, "epoch": 2, **given}
            return augment(images[index], SMALL, how, index=index, **keys)

        crops = list(load_batches(load, batches, threads))
        assert [crop.shape for crop in crops] == [(len(batch), 48, 48, 3) for batch in batches]
        return np.concatenate(crops).tobytes()

    assert read(1) == read(4)
    assert (read(1) == read(1, epoch=3)) == (read(1) == read(1, seed=2)) == (how == "none")
    assert how != "none" or read(1)[: 48 * 48 * 3] == SMALL.crop(images[3]).tobytes()


def test_flips_come_half_of_the_time(images: ArrayImages) -> None:
    plain = SMALL.crop(images[0])
    crops = [augment(images[0], SMALL, "flip", seed=0, epoch=e, index=0) for e in range(200)]
    flipped = sum(np.array_equal(crop, plain[:, ::-1]) for crop in crops)
    assert flipped + sum(np.array_equal(crop, plain) for crop in crops) == 200
    assert 70 < flipped < 130


@pytest.mark.parametrize(("width", "height"), [(60, 50), (400, 20), (20, 400)])
def test_boxes_are_torchvisions(width: int, height: int) -> None:
    import torch
    from torchvision.transforms import RandomResizedCrop

    rng = np.random.default_rng(0)
    boxes = np.array([draw_box(width, height, rng) for _ in range(1500)])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= width).all()
    assert (boxes[:, 3] <= height).all()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = torch.empty(1, height, width)
        drawn = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(1500)]
    theirs = np.array([(left, top, left + w, top + h) for top, left, h, w in drawn])
    for ours, other in zip(boxes.T, theirs.T, strict=True):
        error = 5 * math.hypot(ours.std(), other.std()) / math.sqrt(1500)
        assert abs(ours.mean() - other.mean()) <= error + 1e-9
        assert ours.std() == pytest.approx(other.std(), rel=0.15, abs=1e-9)


def test_gray_images_are_augmented_too() -> None:
    gray = np.asarray(Image.linear_gradient("L"))[:, :, None]
    crop = augment(gray, SMALL, "crop_and_flip", seed=0, epoch=1, index=0)
    assert crop.shape == (48, 48, 3)
