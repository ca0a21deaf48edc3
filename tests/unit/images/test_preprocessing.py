from __future__ import annotations

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from triptych.images.preprocessing import Preprocessing

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# A strip is resized to many times its length.
MOST_OBLONG = 30


@settings(max_examples=60, deadline=None)
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
    preprocessing = Preprocessing(resize_size, crop_size, *IMAGENET, interpolation)
    crop = preprocessing.crop(image)
    assert crop.shape == (crop_size, crop_size, 3)
    assert crop.dtype == np.uint8
    [ours] = normalise(torch.from_numpy(crop[None].copy()), preprocessing.mean, preprocessing.std)
    np.testing.assert_array_equal(ours.numpy(), preprocessing.build()(image).numpy())
