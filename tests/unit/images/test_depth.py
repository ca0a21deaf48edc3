from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from helpers.png import write_png
from helpers.tiff import BITS, COMPRESSION, DEFLATE, PHOTOMETRIC, PLANES, SAMPLE_FORMAT, SEPARATE, write_tiff
from triptych.data.checks.inspection import inspect_file
from triptych.errors import UnreadableImageError
from triptych.images.decoding import decode_image, decoding

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 2**16, size=(9, 13), dtype=np.uint16)
TWELVE = (GREY >> 4).astype(np.uint16)
COLOUR = RNG.integers(0, 2**16, size=(9, 13, 3), dtype=np.uint16)
BYTES = (COLOUR >> 8).astype(np.uint8)
ONE_BYTE = BYTES[..., 0]
PACKED = np.packbits(((TWELVE[:, :, None] >> np.arange(11, -1, -1)) & 1).reshape(9, -1).astype(np.uint8), axis=1)
BIT_ROWS = np.packbits(ONE_BYTE > 127, axis=1)


def _pnm(kind: str, most: int | None, values: NDArray[Any], *, plain: bool = False) -> bytes:
    header = f"{kind}\n# a comment\n13 9\n" + (f"{most}\n" if most else "")
    if plain:
        return (header + " ".join(map(str, values.ravel().tolist()))).encode()
    return header.encode() + values.astype(">u2" if (most or 0) > 255 else "u1").tobytes()


# By name: the file, and the grey levels or colours that a viewer shows.
RIGHT: dict[str, tuple[bytes, NDArray[Any]]] = {
    "PGM of 12 bits": (_pnm("P5", 4095, TWELVE), TWELVE / 4095),
    "PGM up to 1000": (_pnm("P5", 1000, TWELVE % 1001), TWELVE % 1001 / 1000),
    "PGM of 16 bits": (_pnm("P5", 65535, GREY), GREY / 65535),
    "PGM up to 100": (_pnm("P5", 100, ONE_BYTE % 101), ONE_BYTE % 101 / 100),
    "plain PGM of 12 bits": (_pnm("P2", 4095, TWELVE, plain=True), TWELVE / 4095),
    "plain PGM of 16 bits": (_pnm("P2", 65535, GREY, plain=True), GREY / 65535),
    "plain PGM up to 7": (_pnm("P2", 7, ONE_BYTE % 8, plain=True), ONE_BYTE % 8 / 7),
    "PPM of 12 bits": (_pnm("P6", 4095, COLOUR >> 4), (COLOUR >> 4) / 4095),
    "plain PPM up to 15": (_pnm("P3", 15, BYTES % 16, plain=True), BYTES % 16 / 15),
    "PBM": (_pnm("P4", None, ~BIT_ROWS), ONE_BYTE > 127),
    "plain PBM": (_pnm("P1", None, (ONE_BYTE < 128).astype(np.uint8), plain=True), ONE_BYTE > 127),
    "TIFF, 16 bits, white is 0": (write_tiff(65535 - GREY, {PHOTOMETRIC: 0}), GREY / 65535),
    "compressed TIFF, white is 0": (write_tiff(65535 - GREY, {PHOTOMETRIC: 0, COMPRESSION: DEFLATE}), GREY / 65535),
    "TIFF, 8 bits, white is 0": (write_tiff(255 - ONE_BYTE, {PHOTOMETRIC: 0}), ONE_BYTE / 255),
    "TIFF, 1 bit, white is 0": (
        write_tiff(ONE_BYTE, {PHOTOMETRIC: 0, BITS: 1}, content=(~BIT_ROWS).tobytes()),
        ONE_BYTE > 127,
    ),
    "TIFF of 12 packed bits": (write_tiff(TWELVE, {BITS: 12}, content=PACKED.tobytes()), TWELVE / 4095),
    "big-endian TIFF": (write_tiff(GREY, {}, ">"), GREY / 65535),
    "TIFF of planes": (write_tiff(BYTES, {PHOTOMETRIC: 2, PLANES: SEPARATE}), BYTES / 255),
    "compressed TIFF of deep planes": (
        write_tiff(COLOUR, {PHOTOMETRIC: 2, PLANES: SEPARATE, COMPRESSION: DEFLATE}),
        (COLOUR >> 8) / 255,
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_pixels_are_those_that_the_format_defines(name: str, tmp_path: Path) -> None:
    content, shares = RIGHT[name]
    (tmp_path / "image.tif").write_bytes(content)
    expected = np.broadcast_to(np.reshape(shares, (9, 13, -1)) * 255.0, (9, 13, 3))
    assert np.abs(decode_image(tmp_path / "image.tif") - expected).max() < 1.01
    assert ("white_is_zero" in inspect_file(tmp_path / "image.tif").traits) == ("white is 0" in name)


WRONG = {
    "deep planes": (write_tiff(COLOUR, {PHOTOMETRIC: 2, PLANES: SEPARATE}), "one after the other"),
    "a deep plane": (write_tiff(GREY, {PLANES: SEPARATE}), "one after the other"),
    "signed bytes": (write_tiff(ONE_BYTE, {SAMPLE_FORMAT: 2}), "signed numbers"),
    "signed words": (write_tiff(GREY, {SAMPLE_FORMAT: 2}), "signed numbers"),
    "32 bits": (write_tiff(GREY.astype(np.uint32), {}), "whose range is unknown"),
    "big-endian, white is 0": (write_tiff(GREY, {PHOTOMETRIC: 0}, ">"), "unusual pixels"),
}


def test_a_palette_of_eight_bits_is_refused(tmp_path: Path) -> None:
    Image.fromarray(BYTES).quantize(16).save(tmp_path / "image.tif")
    with Image.open(tmp_path / "image.tif") as image:
        colours = np.array(cast("TiffImageFile", image).tag_v2[320], dtype="<u2")
    assert decode_image(tmp_path / "image.tif").max() > 0
    content = (tmp_path / "image.tif").read_bytes()
    (tmp_path / "image.tif").write_bytes(content.replace(colours.tobytes(), (colours >> 8).tobytes()))
    with pytest.raises(UnreadableImageError, match=r"of its palette have 8 bits instead of 16.*\): save it"):
        decode_image(tmp_path / "image.tif")


@pytest.mark.parametrize("name", WRONG)
def test_pixels_that_pillow_misreads_are_refused_with_the_remedy(name: str, tmp_path: Path) -> None:
    content, reason = WRONG[name]
    (tmp_path / "image.tif").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=rf"image\.tif cannot be read \(.*{reason}.*\): save it"):
        decode_image(tmp_path / "image.tif")


def test_a_white_level_scales_sixteen_bits_and_nothing_else(tmp_path: Path) -> None:
    Image.fromarray(TWELVE).save(tmp_path / "grey.png")
    Image.fromarray(BYTES).save(tmp_path / "bytes.png")
    (tmp_path / "own.pgm").write_bytes(_pnm("P5", 1000, TWELVE % 1001))
    (tmp_path / "negative.tif").write_bytes(write_tiff(4095 - TWELVE, {PHOTOMETRIC: 0}))
    np.testing.assert_array_equal(decode_image(tmp_path / "grey.png", 4095)[..., 1], TWELVE.astype(int) * 255 // 4095)
    np.testing.assert_array_equal(decode_image(tmp_path / "grey.png")[..., 1], TWELVE // 257)
    np.testing.assert_array_equal(decode_image(tmp_path / "bytes.png", 4095), BYTES)
    assert decode_image(tmp_path / "own.pgm", 4095).max() > 250
    np.testing.assert_array_equal(
        decode_image(tmp_path / "negative.tif", 4095), decode_image(tmp_path / "grey.png", 4095)
    )


def test_what_a_white_level_cannot_scale_is_refused(tmp_path: Path) -> None:
    Image.fromarray(TWELVE).save(tmp_path / "grey.png")
    (tmp_path / "colour.tif").write_bytes(write_tiff(COLOUR >> 4, {PHOTOMETRIC: 2}))
    too_high = rf"it has the value {TWELVE.max()}, above data\.white_level=1023 of the training\): train with data"
    with pytest.raises(UnreadableImageError, match=too_high):
        decode_image(tmp_path / "grey.png", 1023)
    with pytest.raises(UnreadableImageError, match=r"only 8 are read, .*white_level=4095 .*\): save it with 8 bits"):
        decode_image(tmp_path / "colour.tif", 4095)


def test_the_highest_value_is_known_where_the_file_does_not_say_what_is_white(tmp_path: Path) -> None:
    files = {
        "a.png": {"grey": int(TWELVE.max())},
        "b.tif": {"colour": int((COLOUR >> 4).max()) | 255},
        "c.pgm": {},
        "d.png": {},
        "e.pgm": {"grey": int(TWELVE.max())},
        "f.tif": {"colour": int((COLOUR >> 4).max()) | 255},
    }
    Image.fromarray(TWELVE).save(tmp_path / "a.png")
    (tmp_path / "b.tif").write_bytes(write_tiff(COLOUR >> 4, {PHOTOMETRIC: 2}))
    (tmp_path / "c.pgm").write_bytes(_pnm("P5", 4095, TWELVE))
    Image.fromarray(BYTES).save(tmp_path / "d.png")
    transparent = np.dstack([COLOUR >> 4, np.zeros_like(GREY)])
    (tmp_path / "f.tif").write_bytes(write_tiff(transparent, {PHOTOMETRIC: 2}))
    (tmp_path / "e.pgm").write_bytes(_pnm("P5", 65535, TWELVE))
    for name, highest in files.items():
        with decoding(tmp_path / name) as decoded:
            assert decoded.highest == highest, name


@pytest.mark.parametrize(("channels", "bits"), [(1, 1), (1, 2), (1, 4), (1, 8), (1, 16), (3, 8), (3, 16)])
def test_the_transparent_value_of_a_png_is_white(channels: int, bits: int, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 2**bits, size=(9, 13, channels), dtype=np.uint16)
    pixels[0, 0], pixels[0, 1] = 2 ** (bits - 2) if bits > 1 else 0, 2**bits - 1
    (tmp_path / "image.png").write_bytes(write_png(pixels, bits, pixels[0, 0]))
    hidden = (pixels == pixels[0, 0]).all(axis=2, keepdims=True)
    expected = np.broadcast_to(np.where(hidden, 255.0, pixels * (255.0 / (2**bits - 1))), (9, 13, 3))
    assert np.abs(decode_image(tmp_path / "image.png") - expected).max() <= 1


def test_a_transparent_value_above_the_white_level_is_no_reason_to_refuse(tmp_path: Path) -> None:
    values = TWELVE[:, :, None].copy()
    values[0, 0] = 65535
    (tmp_path / "image.png").write_bytes(write_png(values, 16, values[0, 0]))
    with decoding(tmp_path / "image.png", 4095) as decoded:
        assert decoded.highest == {"grey": int(TWELVE.ravel()[1:].max())}
        assert decoded.pixels[0, 0, 0] == 255


@pytest.mark.parametrize("size", [(9, 9), (1, 2_000_000), (2_000_000, 1)])
def test_a_picture_of_one_colour_is_read_and_noted(size: tuple[int, int], tmp_path: Path) -> None:
    picture = Image.new("RGB", size, "red")
    picture.save(tmp_path / "red.png")
    assert inspect_file(tmp_path / "red.png").traits == ("one_colour",)
    picture.putpixel((size[0] - 1, size[1] - 1), (254, 0, 0))
    picture.save(tmp_path / "red.png")
    assert inspect_file(tmp_path / "red.png").traits == ()
