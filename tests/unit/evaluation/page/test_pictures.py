from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.evaluation.page.pictures import (
    BLANK,
    SIDES,
    TILES_PER_ROW,
    draw_blank,
    embed_pictures,
    embed_thumbnail,
    embed_tiles,
)
from triptych.images.sources import ArrayImages, FileImages

NOISE = np.random.default_rng(0).integers(0, 256, (1, 80, 40, 3), dtype=np.uint8)
FLAT = np.full((1, 8, 8, 1), 7, np.uint8)


@pytest.mark.parametrize(("images", "kind", "size"), [(NOISE, "jpeg", (20, 40)), (FLAT, "png", (8, 8))])
def test_a_picture_is_small_and_in_the_smaller_format(images: np.ndarray, kind: str, size: tuple[int, int]) -> None:
    head, _, encoded = embed_thumbnail(ArrayImages(images), 0, 40).partition(",")
    assert head == f"data:image/{kind};base64"
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == size


def open_picture(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_pictures_are_as_large_as_fits_and_the_first_ones_come_first() -> None:
    large = ArrayImages(np.random.default_rng(0).integers(0, 256, (8, 300, 300, 3), dtype=np.uint8))
    roomy = embed_pictures(large, range(8), 10_000_000)
    assert {open_picture(one).size for one in roomy} == {(SIDES[0], SIDES[0])}
    most = 3 * len(embed_thumbnail(large, 0, SIDES[1])) + 2000
    tight = embed_pictures(large, range(8), most)
    assert [open_picture(one).size[0] for one in tight] == [SIDES[1]] * 3
    assert sum(map(len, tight)) <= most
    assert embed_pictures(large, [], 100) == []


def test_a_photo_that_is_changed_or_gone_leaves_a_blank(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("kept.png", "changed.png", "gone.png")]
    for file in files[:2]:
        Image.fromarray(NOISE[0]).save(file)
    images = FileImages(tuple(files), (b"", b"of another content", b"of another content"))
    assert open_picture(draw_blank()).size == (BLANK, BLANK)
    assert [one == draw_blank() for one in embed_pictures(images, range(3), 10_000_000)] == [False, True, True]


def test_tiles_are_in_rows() -> None:
    images = np.stack([np.full((8, 6, 1), number, np.uint8) for number in range(TILES_PER_ROW + 1)])
    sheet = open_picture(embed_tiles(images, 32))
    assert sheet.size == (6 * TILES_PER_ROW, 16)
    assert (sheet.getpixel((6 * 3, 0)), sheet.getpixel((0, 8))) == (3, TILES_PER_ROW)
