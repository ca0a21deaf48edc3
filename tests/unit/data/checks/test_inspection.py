from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.png import chunk, write_png
from triptych.data.checks.inspection import inspect_file
from triptych.errors import UnreadableImageError
from triptych.images.decoding import decode_image

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, size=(24, 30, 3), dtype=np.uint8))


def _is_refused(file: Path) -> bool:
    try:
        decode_image(file)
    except UnreadableImageError:
        return True
    return False


@pytest.mark.parametrize("suffix", ["png", "apng", "tif", "webp", "gif", "jpg", "bmp", "jp2"])
def test_whatever_cannot_be_decoded_fails_the_inspection(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"photo.{suffix}"
    options = {"compression": "tiff_deflate"} if suffix == "tif" else {}
    NOISE.save(file, exif=Image.Exif(), format="PNG" if suffix == "apng" else None, **options)
    content, rng = file.read_bytes(), np.random.default_rng(0)
    refused = 0
    for place in rng.integers(8, len(content), size=20).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        for damage in (damaged, content[:place]):
            file.write_bytes(damage)
            assert bool(inspect_file(file).problem) == _is_refused(file)
            refused += _is_refused(file)
    assert refused > 5


def test_a_bomb_of_text_after_the_pixels_fails_the_inspection(tmp_path: Path) -> None:
    file = tmp_path / "bomb.png"
    NOISE.save(file)
    content = file.read_bytes()
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**27)))
    file.write_bytes(content[:-12] + bomb + content[-12:])
    assert inspect_file(file).problem.endswith("unpack to more than 1,048,576 bytes: save it without metadata")
    assert _is_refused(file)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_a_turned_picture_is_noted(suffix: str, tmp_path: Path) -> None:
    for orientation in (1, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        NOISE.save(tmp_path / f"photo.{suffix}", exif=exif)
        assert inspect_file(tmp_path / f"photo.{suffix}").traits == (("turned",) if orientation > 1 else ())


def test_sixteen_bits_of_colour_are_known_although_pillow_shows_eight(tmp_path: Path) -> None:
    (tmp_path / "deep.png").write_bytes(write_png(np.array([[[0x80FF, 0, 0xFFFF]]], dtype=np.uint16), 16))
    assert inspect_file(tmp_path / "deep.png").traits == ("sixteen_bits", "one_colour")
    assert decode_image(tmp_path / "deep.png").tolist() == [[[0x80, 0, 0xFF]]]


def test_a_damaged_second_page_does_not_keep_the_first_from_being_read(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert inspect_file(tmp_path / "pages.tif").traits == ("several_pictures", "one_colour")
    content = (tmp_path / "pages.tif").read_bytes()
    second = content.index(b"\0\0\xff", 100)  # where the blue pixels begin: the tags of the page follow them
    (tmp_path / "pages.tif").write_bytes(content[:second] + b"\0" * (len(content) - second))
    assert inspect_file(tmp_path / "pages.tif").problem == ""
    assert decode_image(tmp_path / "pages.tif")[0, 0].tolist() == [255, 0, 0]
