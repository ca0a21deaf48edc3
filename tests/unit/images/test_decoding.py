from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from helpers.tiff import COMPRESSION, DEFLATE, ORIENTATION, write_tiff
from triptych.data.checks.inspection import inspect_file
from triptych.errors import DataError
from triptych.images import decoding
from triptych.images.decoding import decode_image

SMALL = Image.fromarray(np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3)
# Other tags than the orientation: each of them makes `ImageOps.exif_transpose` or the reader of EXIF data stumble.
BROKEN_TAGS = {
    "none": b"",
    "a resolution in words": struct.pack("<HHI", 0x11A, 2, 3) + b"72\0\0",
    "a folder of tags outside the file": struct.pack("<HHII", 0x8769, 4, 1, 2**31),
    "a place that is a word": struct.pack("<HHI", 0x8825, 2, 3) + b"no\0\0",
    "a type that does not exist": struct.pack("<HHII", 0x11A, 99, 1, 0),
}


def _write_exif(orientation: bytes, more: bytes = b"", entries: int | None = None) -> bytes:
    """Return EXIF data with an orientation tag, and with another one."""
    count = entries or 1 + bool(more)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, count) + orientation + more + struct.pack("<I", 0)


def _orientation(value: int) -> bytes:
    return struct.pack("<HHIHH", 0x112, 3, 1, value, 0)


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_turns_are_undone(orientation: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    SMALL.save(tmp_path / f"turned.{suffix}", exif=exif, lossless=True)
    with Image.open(tmp_path / f"turned.{suffix}") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(decode_image(tmp_path / f"turned.{suffix}"), expected)


NOISE = np.random.default_rng(0).integers(0, 2**16, size=(6, 8, 3), dtype=np.uint16)
# By EXIF orientation, how the stored picture is turned until it is upright.
TURNED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("compression", [None, "tiff_deflate"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "I;16", "I;16B", "RGB", "RGBA", "CMYK"])
def test_a_turned_tiff_has_the_pixels_of_one_that_is_not(mode: str, compression: str | None, tmp_path: Path) -> None:
    file = tmp_path / "turned.tif"
    found = []
    for orientation, turn in TURNED.items():
        if mode == "I;16B":
            tags = {ORIENTATION: orientation, COMPRESSION: DEFLATE if compression else 1}
            file.write_bytes(write_tiff(NOISE[..., 0], tags, ">"))
        else:
            deep = Image.fromarray(NOISE[..., 0])
            image = deep if mode == "I;16" else Image.fromarray((NOISE >> 8).astype(np.uint8)).convert(mode)
            image.save(file, compression=compression, tiffinfo={ORIENTATION: orientation})
        found.append(decode_image(file))
        np.testing.assert_array_equal(found[-1], turn(found[0]))
    if mode.startswith("I;16"):
        np.testing.assert_array_equal(found[0][..., 0], NOISE[..., 0] // 257)
    if mode in {"RGB", "RGBA"}:
        np.testing.assert_array_equal(found[0], NOISE >> 8)


@pytest.mark.parametrize("broken", BROKEN_TAGS)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_photo_is_read_upright_whatever_its_other_tags_are(broken: str, suffix: str, tmp_path: Path) -> None:
    SMALL.save(tmp_path / f"photo.{suffix}", exif=_write_exif(_orientation(6), BROKEN_TAGS[broken]))
    assert decode_image(tmp_path / f"photo.{suffix}").shape == (6, 4, 3)
    assert inspect_file(tmp_path / f"photo.{suffix}").problem == ""


@pytest.mark.parametrize(
    "exif",
    [
        _write_exif(_orientation(0)),
        _write_exif(_orientation(9)),
        _write_exif(struct.pack("<HHI", 0x112, 2, 2) + b"6\0\0\0"),
        _write_exif(struct.pack("<HHI", 0x112, 7, 1) + b"\6\0\0\0"),
        _write_exif(struct.pack("<HHII", 0x112, 5, 1, 2**30)),
        _write_exif(_orientation(6), entries=500)[:20],
        b"Exif\0\0",
        b"Exif\0\0nothing of the kind",
    ],
    ids=["zero", "nine", "a word", "bytes", "a fraction elsewhere", "cut off", "empty", "no EXIF"],
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_an_orientation_that_means_nothing_leaves_the_photo_as_it_is(exif: bytes, suffix: str, tmp_path: Path) -> None:
    SMALL.save(tmp_path / f"photo.{suffix}", exif=exif)
    assert decode_image(tmp_path / f"photo.{suffix}").shape == (4, 6, 3)


def test_a_large_picture_is_converted_in_strips_to_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 7
    SMALL.quantize(16).save(tmp_path / "palette.png", transparency=3, exif=exif)
    whole = decode_image(tmp_path / "palette.png")
    monkeypatch.setattr(decoding, "STRIP_PIXELS", 12)
    np.testing.assert_array_equal(decode_image(tmp_path / "palette.png"), whole)


RAMP = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (16, 1))


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.fromarray(RAMP), id="gray"),
        pytest.param(Image.fromarray(RAMP.astype(np.uint16) * 257), id="16 bits"),
        pytest.param(Image.merge("LA", [Image.new("L", (64, 16), 0), Image.fromarray(255 - RAMP)]), id="alpha"),
        pytest.param(Image.fromarray(RAMP).convert("P"), id="palette"),
    ],
)
def test_a_ramp_is_a_ramp_in_every_mode(tmp_path: Path, image: Image.Image) -> None:
    image.save(tmp_path / "ramp.png")
    decoded = decode_image(tmp_path / "ramp.png")
    assert decoded.shape == (16, 64, 3)
    assert np.abs(decoded.astype(int) - RAMP[:, :, None]).max() <= 1


def test_floating_point_images_are_refused(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.float32) / 255).save(tmp_path / "float.tiff")
    with pytest.raises(DataError, match=r"float\.tiff cannot be read \(pixels of mode 'F'.*save it with 8 bits"):
        decode_image(tmp_path / "float.tiff")
