from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.errors import DataError
from triptych.images.decoding import decode_image


def test_exif_turned_photos_are_read_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert decode_image(tmp_path / "turned.jpg").shape == (40, 20, 3)


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
