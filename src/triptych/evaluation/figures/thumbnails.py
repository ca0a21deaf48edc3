"""Small pictures of images, as pages embed them."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from triptych.images.sources import ImageSource

# Of these, each image takes the smaller: PNG for digits, JPEG for photos.
FORMATS = ("PNG", "JPEG")


def embed_thumbnail(images: ImageSource, index: int, longest: int) -> str:
    """Return a small picture of an image as a `data:` address.

    Args:
        images: of a board.
        index: of the image.
        longest: the longest side of the picture in pixels; smaller images stay as they are.
    """
    pixels: Any = images[index]
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((longest, longest))
    return min((_encode(image, name) for name in FORMATS), key=len)


def _encode(image: Image.Image, name: str) -> str:
    file = io.BytesIO()
    image.save(file, format=name)
    return f"data:image/{name.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
