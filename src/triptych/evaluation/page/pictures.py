"""Pictures of images, as pages embed them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from triptych.errors import DataError
from triptych.images.pixels import Pixels
from triptych.images.sources import ImageSource

# Of these, a small image takes the smaller: PNG for digits, JPEG for photos. Of a large one, PNG would take long.
FORMATS, LARGE = ("PNG", "JPEG"), 100
# The longest sides that pictures have, in pixels: the largest at which all of them fit into the bytes that there are.
SIDES = (256, 128)
# The size of all pictures is estimated by so many.
TRIED = 4
TILES_PER_ROW = 40
# The size of the picture that stands for a photo that cannot be read any more.
BLANK = 96


def embed_thumbnail(images: ImageSource, index: int, longest: int) -> str:
    """Return a small picture of an image as a `data:` address.

    Of a photo that was changed or deleted after the training it is `draw_blank`: the result does not depend on it.

    Args:
        images: of a board.
        index: of the image.
        longest: the longest side of the picture in pixels; smaller images stay as they are.
    """
    try:
        image = _open(images[index])
    except DataError:
        return draw_blank()
    image.thumbnail((longest, longest))
    names = FORMATS if max(image.size) < LARGE else FORMATS[1:]
    return min((_encode(image, name) for name in names), key=len)


@cache
def draw_blank() -> str:
    """Return the picture of a photo that is gone as a `data:` address."""
    blank = Image.new("L", (BLANK, BLANK), "lightgrey")
    ImageDraw.Draw(blank).text((BLANK // 2, BLANK // 2), "changed\nor deleted", "black", anchor="mm", align="center")
    return _encode(blank, "PNG")


def embed_pictures(images: ImageSource, indices: Sequence[int], most_bytes: int) -> list[str]:
    """Return pictures of the first images as `data:` addresses, as many as fit.

    Args:
        images: of a board.
        indices: of the images, the most important first.
        most_bytes: of all addresses together.
    """
    tried = indices[:TRIED]

    def estimate(side: int) -> float:
        return sum(len(embed_thumbnail(images, index, side)) for index in tried) / max(1, len(tried)) * len(indices)

    side = next((side for side in SIDES[:-1] if estimate(side) <= most_bytes), SIDES[-1])
    pictures: list[str] = []
    left = most_bytes
    for index in indices:
        picture = embed_thumbnail(images, index, side)
        left -= len(picture)
        if left < 0:
            break
        pictures.append(picture)
    return pictures


def embed_tiles(pixels: NDArray[np.uint8], side: int) -> str:
    """Return many small images as one picture of square tiles, `TILES_PER_ROW` in a row, as a `data:` address.

    Args:
        pixels: (n, height, width, channels) uint8.
        side: of a tile in pixels; smaller images are not enlarged.
    """
    tiles = [_open(one) for one in pixels]
    for tile in tiles:
        tile.thumbnail((side, side))
    width, height = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    rows = -(-len(tiles) // TILES_PER_ROW)
    sheet = Image.new(tiles[0].mode, (TILES_PER_ROW * width, rows * height))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % TILES_PER_ROW * width, number // TILES_PER_ROW * height))
    return min((_encode(sheet, name) for name in FORMATS), key=len)


def _open(pixels: Pixels) -> Image.Image:
    array: Any = pixels
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def _encode(image: Image.Image, name: str) -> str:
    file = io.BytesIO()
    image.save(file, format=name, optimize=True)
    return f"data:image/{name.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
