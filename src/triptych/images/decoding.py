"""Image files, decoded to RGB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from triptych.errors import DataError, UnreadableImageError
from triptych.images.formats import IMAGE_SUFFIXES, explain_format, list_formats
from triptych.images.pixels import Pixels
from triptych.images.room import ROOM

__all__ = ["IMAGE_SUFFIXES", "decode_image", "decode_opened", "decoding", "open_image", "read_orientation"]

# A large picture is converted in strips of this size, so that no second copy of it is in memory.
STRIP_PIXELS = 2**20
# By EXIF orientation, how the stored picture lies in the upright one: whether rows and columns change places, and the
# steps along its rows and columns.
TURNS = {
    1: (False, 1, 1),
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, -1, 1),
    7: (True, -1, -1),
    8: (True, 1, -1),
}


def decode_image(file: Path) -> Pixels:
    """Return an image file as (height, width, 3) uint8 RGB, rotated as its EXIF orientation says.

    Raises:
        UnreadableImageError: the file is not a complete image in one of `FORMATS`, or it exceeds Pillow's limit on
            pixels.
    """
    with decoding(file) as pixels:
        return pixels


@contextmanager
def decoding(file: Path) -> Iterator[Pixels]:
    """Yield what `decode_image` returns; a large picture has room in memory until the block ends.

    Raises:
        UnreadableImageError: as `decode_image`.
    """
    with ExitStack() as held:
        with open_image(file) as image:
            held.enter_context(ROOM.hold(image.width * image.height))
            pixels = decode_opened(image, file)
        del image  # Pillow's copy
        yield pixels


@contextmanager
def open_image(file: Path) -> Iterator[Image.Image]:
    """Open an image file; any error with it while the block runs becomes an `UnreadableImageError`.

    Raises:
        UnreadableImageError: the file is not a complete image in one of `FORMATS`, or it exceeds Pillow's limit on
            pixels.
    """
    try:
        with Image.open(file, formats=list_formats()) as image:
            _refuse_bomb(image, file)
            yield image
    except DataError:
        raise
    except PermissionError as error:
        raise UnreadableImageError(file, "it may not be read", "allow it with chmod a+r") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(file, *explain_format(file)) from error
    except Exception as error:
        # Damaged files raise almost any error in Pillow's readers, from struct.error to AttributeError.
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImageError(file, reason) from error


def _refuse_bomb(image: Image.Image, file: Path) -> None:
    """Refuse images above Pillow's limit; Pillow itself only warns unless they are twice as large."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        reason = f"{image.width} x {image.height} pixels, a decompression bomb by Pillow's limit of {limit:,}"
        raise UnreadableImageError(file, reason, "scale it down, or remove the file")


def decode_opened(image: Image.Image, file: Path) -> Pixels:
    """Return an opened image as (height, width, 3) uint8 RGB, rotated as its EXIF orientation says.

    It takes 7 bytes a pixel, 4 of which are Pillow's, and what the reader of the format takes meanwhile.

    Args:
        image: an image from `open_image`.
        file: its file, for errors.
    """
    image.load()
    # Only now: Pillow turns a TIFF itself when it loads it, and a PNG may have its EXIF data at the end.
    swap, row_step, column_step = TURNS[read_orientation(image)]
    width, height = image.size
    upright = np.empty((width, height, 3) if swap else (height, width, 3), dtype=np.uint8)
    stored = (upright.swapaxes(0, 1) if swap else upright)[::row_step, ::column_step]
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = image if rows >= height else image.crop((0, top, width, min(top + rows, height)))
        stored[top : top + rows] = np.asarray(convert_to_rgb(strip, file))
    return upright


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 if it has none, or none that can be read.

    No other tag counts: one that is broken is no reason to refuse the photo.
    """
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(found) if found in TURNS else 1
    except Exception:  # noqa: BLE001 - broken EXIF data raise almost any error
        return 1


def convert_to_rgb(image: Image.Image, file: Path) -> Image.Image:
    """Return an image as 8-bit RGB: 16 bits are scaled to 8, and transparent pixels are blended with white.

    Args:
        image: an image of any mode.
        file: its file, for errors.

    Raises:
        UnreadableImageError: the pixels are floating-point or 32-bit numbers, whose range is unknown.

    >>> convert_to_rgb(Image.new("LA", (1, 1), (0, 0)), Path("transparent.png")).getpixel((0, 0))
    (255, 255, 255)
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        reason = f"pixels of mode {image.mode!r}, whose range is unknown"
        raise UnreadableImageError(file, reason, "save it with 8 bits")
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")
