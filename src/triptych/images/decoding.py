"""Image files, decoded to RGB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from triptych.errors import DataError, UnreadableImageError
from triptych.images.pixels import Pixels

# The file names that torchvision's ImageFolder takes for images.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def decode_image(file: Path) -> Pixels:
    """Return an image file as (height, width, 3) uint8 RGB, rotated as its EXIF orientation says.

    Raises:
        UnreadableImageError: the file is not a complete image, or it exceeds Pillow's limit on pixels.
    """
    with open_image(file) as image:
        return decode_opened(image, file)


@contextmanager
def open_image(file: Path) -> Iterator[Image.Image]:
    """Open an image file; any error with it while the block runs becomes an `UnreadableImageError`.

    Raises:
        UnreadableImageError: the file is not a complete image, or it exceeds Pillow's limit on pixels.
    """
    try:
        with Image.open(file) as image:
            _refuse_bomb(image, file)
            yield image
    except DataError:
        raise
    except PermissionError as error:
        raise UnreadableImageError(file, "it may not be read", "allow it with chmod a+r") from error
    except Exception as error:
        # Damaged files raise almost any error in Pillow's readers, from struct.error to AttributeError.
        raise UnreadableImageError(file, _explain(error, file)) from error


def _refuse_bomb(image: Image.Image, file: Path) -> None:
    """Refuse images above Pillow's limit; Pillow itself only warns unless they are twice as large."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        reason = f"{image.width} x {image.height} pixels, a decompression bomb by Pillow's limit of {limit:,}"
        raise UnreadableImageError(file, reason, "scale it down, or remove the file")


def _explain(error: Exception, file: Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no image format that Pillow knows" if file.stat().st_size else "the file is empty"
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def decode_opened(image: Image.Image, file: Path) -> Pixels:
    """Return an opened image as (height, width, 3) uint8 RGB, rotated as its EXIF orientation says.

    Args:
        image: an image from `open_image`.
        file: its file, for errors.
    """
    return np.asarray(convert_to_rgb(ImageOps.exif_transpose(image), file))


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
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        reason = f"pixels of mode {image.mode!r}, whose range is unknown"
        raise UnreadableImageError(file, reason, "save it with 8 bits")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")
