"""Image files, decoded to RGB."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.PngImagePlugin import MAX_TEXT_CHUNK
from PIL.TiffImagePlugin import TiffImageFile

from triptych.errors import DataError, UnreadableImageError
from triptych.images.depth import WHITE, Depth, explain_misread, find_depth, scale_transparency
from triptych.images.formats import IMAGE_SUFFIXES, explain_format, list_formats
from triptych.images.pixels import Pixels
from triptych.images.room import ROOM

__all__ = ["IMAGE_SUFFIXES", "Decoded", "decode_image", "decode_opened", "decoding", "open_image"]

SAVE_PLAIN = "save it with 8 bits"
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


@dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Attributes:
        pixels: (height, width, 3) uint8 RGB, rotated as its EXIF orientation says.
        highest: its highest value of 16 bits by the kind of its `Depth`, if the file does not say which one is white.
        turned: whether its EXIF orientation turned it.
    """

    pixels: Pixels
    highest: dict[str, int] = field(default_factory=dict)
    turned: bool = False


def decode_image(file: Path, white_level: int = WHITE) -> Pixels:
    """Return an image file as (height, width, 3) uint8 RGB, rotated as its EXIF orientation says.

    Args:
        file: the file; its content decides what format it has.
        white_level: the value of 16 bits that becomes 255, unless the file says which.

    Raises:
        UnreadableImageError: the file is not a complete image in one of `FORMATS`, it exceeds Pillow's limit on
            pixels, or one of its values is above the white level.
    """
    with decoding(file, white_level) as decoded:
        return decoded.pixels


@contextmanager
def decoding(file: Path, white_level: int = WHITE) -> Iterator[Decoded]:
    """Yield an image file decoded; a large picture has room in memory until the block ends.

    Args and errors are those of `decode_image`.
    """
    with ExitStack() as held:
        with open_image(file) as image:
            held.enter_context(ROOM.hold(image.width * image.height))
            decoded = decode_opened(image, file, white_level)
        del image  # Pillow's copy
        yield decoded


@contextmanager
def open_image(file: Path) -> Iterator[Image.Image]:
    """Open an image file; any error with it while the block runs becomes an `UnreadableImageError`.

    Raises:
        UnreadableImageError: the file is not a complete image in one of `FORMATS`, or it exceeds Pillow's limit on
            pixels.
    """
    try:
        # A stream, as Pillow maps a file that it opens itself into memory: a turned TIFF would be scrambled, and a file
        # that is cut off meanwhile would kill the process.
        with _open_regular(file) as stream, Image.open(stream, formats=list_formats()) as image:
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
        if "MAX_TEXT" in reason:
            reason = f"its comments, or its colour profile, unpack to more than {MAX_TEXT_CHUNK:,} bytes"
            raise UnreadableImageError(file, reason, "save it without metadata") from error
        raise UnreadableImageError(file, reason) from error


def _open_regular(file: Path) -> BinaryIO:
    """Open a regular file for reading; others, such as a pipe, would be waited for forever."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise UnreadableImageError(file, "it is no regular file")
    return file.open("rb")


def _refuse_bomb(image: Image.Image, file: Path) -> None:
    """Refuse images above Pillow's limit; Pillow itself only warns unless they are twice as large."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        reason = f"{image.width} x {image.height} pixels, a decompression bomb by Pillow's limit of {limit:,}"
        raise UnreadableImageError(file, reason, "scale it down, or remove the file")


def decode_opened(image: Image.Image, file: Path, white_level: int = WHITE) -> Decoded:
    """Return an opened image decoded.

    It takes 7 bytes a pixel, 4 of which are Pillow's, and what the reader of the format takes meanwhile.

    Args:
        image: an image from `open_image`.
        file: its file, for errors.
        white_level: as for `decode_image`.
    """
    if misread := explain_misread(image):
        raise UnreadableImageError(file, misread, SAVE_PLAIN)
    depth = find_depth(image)
    scale_transparency(image)
    # Pillow turns a TIFF itself while it loads the pixels, and then forgets the tag.
    orientation = image.tag_v2.get(ExifTags.Base.Orientation, 1) if isinstance(image, TiffImageFile) else 1
    image.load()
    # Only now: to find the EXIF data at the end of a PNG, Pillow loads the pixels, and a second attempt to load damaged
    # ones succeeds.
    turn = _read_orientation(image)
    swap, row_step, column_step = TURNS[turn]
    width, height = image.size
    upright = np.empty((width, height, 3) if swap else (height, width, 3), dtype=np.uint8)
    stored = (upright.swapaxes(0, 1) if swap else upright)[::row_step, ::column_step]
    rows, highest = max(1, STRIP_PIXELS // width), 0
    for top in range(0, height, rows):
        strip = image if rows >= height else image.crop((0, top, width, min(top + rows, height)))
        if depth is None:
            stored[top : top + rows] = np.asarray(convert_to_rgb(strip, file))
        else:
            stored[top : top + rows], found = _scale(strip, depth, white_level, file)
            highest = max(highest, found)
    known = {depth.kind: highest} if depth and depth.white is None else {}
    return Decoded(upright, known, turn > 1 or (orientation in TURNS and orientation > 1))


def _scale(strip: Image.Image, depth: Depth, white_level: int, file: Path) -> tuple[Pixels, int]:
    """Return pixels of 16 bits as 8 bits, (height, width, 3 or 1) uint8, and their highest value."""
    white = depth.white or white_level
    if depth.kind == "colour":
        if white != WHITE:
            reason = f"of its 16 bits a channel only 8 are read, which data.white_level={white} cannot scale"
            raise UnreadableImageError(file, reason, SAVE_PLAIN)
        # Before transparent pixels become white.
        highest = int(np.asarray(strip)[..., : len(strip.getbands()) - ("A" in strip.getbands())].max())
        return np.asarray(convert_to_rgb(strip, file)), highest << 8 | 255
    values = np.asarray(strip).astype(np.uint32)
    transparent = values == strip.info.get("transparency", -1)
    values[transparent] = 0
    highest = int(values.max())
    if highest > white:
        reason = f"it has the value {highest}, above data.white_level={white} of the training"
        remedy = f"train with data.white_level={highest} or more, or save it with values up to {white}"
        raise UnreadableImageError(file, reason, remedy)
    values = white - values if depth.inverted else values
    values[transparent] = white
    return (values * 255 // white).astype(np.uint8)[:, :, None], highest


def _read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a loaded image, 1 to 8; 1 if it has none, or none that can be read.

    No other tag counts: one that is broken is no reason to refuse the photo.
    """
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(found) if found in TURNS else 1
    except Exception:  # noqa: BLE001 - broken EXIF data raise almost any error
        return 1


def convert_to_rgb(image: Image.Image, file: Path) -> Image.Image:
    """Return an image of 8 bits as RGB; transparent pixels are blended with white.

    Args:
        image: an image of any mode.
        file: its file, for errors.

    Raises:
        UnreadableImageError: the pixels are floating-point or 32-bit numbers, whose range is unknown.

    >>> convert_to_rgb(Image.new("LA", (1, 1), (0, 0)), Path("transparent.png")).getpixel((0, 0))
    (255, 255, 255)
    """
    if image.mode in {"I", "F"}:
        reason = f"pixels of mode {image.mode!r}, whose range is unknown"
        raise UnreadableImageError(file, reason, SAVE_PLAIN)
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")
