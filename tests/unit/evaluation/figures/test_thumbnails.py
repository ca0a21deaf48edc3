from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from triptych.evaluation.figures.thumbnails import embed_thumbnail
from triptych.images.sources import ArrayImages

NOISE = np.random.default_rng(0).integers(0, 256, (1, 80, 40, 3), dtype=np.uint8)
FLAT = np.full((1, 8, 8, 1), 7, np.uint8)


@pytest.mark.parametrize(("images", "kind", "size"), [(NOISE, "jpeg", (20, 40)), (FLAT, "png", (8, 8))])
def test_a_picture_is_small_and_in_the_smaller_format(images: np.ndarray, kind: str, size: tuple[int, int]) -> None:
    head, _, encoded = embed_thumbnail(ArrayImages(images), 0, 40).partition(",")
    assert head == f"data:image/{kind};base64"
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == size
