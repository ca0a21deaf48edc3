from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from triptych.images import preprocessing
from triptych.images.preprocessing import Preprocessing
from triptych.images.windows import resize_window

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# A strip is resized to many times its length.
MOST_OBLONG = 30


@settings(max_examples=60)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    channels=st.sampled_from([1, 3]),
    resize_size=st.integers(5, 60),
    crop_size=st.integers(5, 70),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
    seed=st.integers(0, 2**16),
)
@example(height=1, width=1, channels=1, resize_size=5, crop_size=70, interpolation="bicubic", seed=0)
@example(height=20, width=33, channels=3, resize_size=20, crop_size=21, interpolation="bilinear", seed=1)
@example(height=33, width=20, channels=3, resize_size=21, crop_size=30, interpolation="bilinear", seed=2)
@example(height=40, width=40, channels=3, resize_size=40, crop_size=40, interpolation="bicubic", seed=3)
def test_cutting_and_normalising_is_torchvisions_own_transform(
    height: int, width: int, channels: int, resize_size: int, crop_size: int, interpolation: str, seed: int
) -> None:
    import torch

    from triptych.networks.precision import normalise

    assume(max(height, width) <= MOST_OBLONG * min(height, width))
    image = np.random.default_rng(seed).integers(0, 256, size=(height, width, channels), dtype=np.uint8)
    steps = Preprocessing(resize_size, crop_size, *IMAGENET, interpolation)
    crop = steps.crop(image)
    assert crop.shape == (crop_size, crop_size, 3)
    assert crop.dtype == np.uint8
    [ours] = normalise(torch.from_numpy(crop[None].copy()), steps.mean, steps.std)
    np.testing.assert_array_equal(ours.numpy(), steps.build()(image).numpy())


@settings(max_examples=150)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    resize_size=st.integers(1, 60),
    crop_size=st.integers(1, 70),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
    seed=st.integers(0, 2**16),
)
@example(height=1, width=150, resize_size=60, crop_size=56, interpolation="bilinear", seed=0)
@example(height=150, width=2, resize_size=50, crop_size=60, interpolation="bicubic", seed=1)
def test_a_window_of_a_resized_picture_has_the_bits_of_the_whole(
    height: int, width: int, resize_size: int, crop_size: int, interpolation: str, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    image[image < 64] = 0  # clipped by the negative weights of bicubic interpolation
    image[image > 192] = 255
    size = preprocessing._resized(width, height, resize_size)
    (left, _), (top, _) = (preprocessing._crop_side(side, crop_size) for side in size)
    box = (left, top, left + crop_size, top + crop_size)
    whole = Image.fromarray(image)
    if size != whole.size:
        whole = whole.resize(size, Image.Resampling[interpolation.upper()])
    np.testing.assert_array_equal(resize_window(image, size, box, interpolation), np.asarray(whole.crop(box)))


@pytest.mark.parametrize(("height", "width"), [(1, 30_000), (30_000, 3), (2**22, 1)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_thin_picture_takes_little_memory(height: int, width: int, interpolation: str) -> None:
    image = np.full((height, width, 3), (200, 100, 0), dtype=np.uint8)
    tracemalloc.start()
    try:
        crop = Preprocessing(256, 224, *IMAGENET, interpolation).crop(image)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(crop, np.broadcast_to(image[0, 0], (224, 224, 3)))


def test_a_square_may_be_made_of_an_image_of_any_shape() -> None:
    image = np.random.default_rng(0).integers(0, 256, size=(60, 90, 3), dtype=np.uint8)
    squashing = Preprocessing(36, 32, (0.0,) * 3, (1.0,) * 3, "bicubic", squash=True)
    expected = squashing.build()(image).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(squashing.crop(image) / 255.0, expected, atol=1e-6)
    assert Preprocessing.from_json(squashing.as_json()) == squashing
    assert "squash" not in replace(squashing, squash=False).as_json(), "stored embeddings keep their names"
