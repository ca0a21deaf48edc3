"""Pixels of more than 8 bits: which value is white, and whether a data set's are so low that it would be black."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

# The highest value of 16 bits, and white unless a file or `data.white_level` says otherwise.
WHITE = 2**16 - 1
# If no 16-bit image of a data set has a higher value, most likely they have 14 bits or fewer.
DARK = 2**14 - 1
PHOTOMETRIC, BITS, SAMPLE_FORMAT, PLANES = 262, 258, 339, 284
SIGNED, SEPARATE = 2, 2


class Depth(NamedTuple):
    """What is known about the 16 bits of a file.

    Attributes:
        kind: "grey"; or "colour", of which Pillow reads only the upper 8 bits.
        white: the value that is white, if the file says so; None if nothing but `data.white_level` does.
        inverted: whether 0 is white, and Pillow leaves it so.
    """

    kind: str
    white: int | None = None
    inverted: bool = False


def find_depth(image: Image.Image) -> Depth | None:
    """Return what is known about the 16 bits of an image that is not loaded yet; None if it has 8 or fewer."""
    tiles = getattr(image, "tile", [])
    words = [word for tile in tiles for word in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))]
    if image.format == "PPM":
        # Pillow has scaled the values to 16 bits, for colours to 8, by the highest one that the header allows.
        most = next((word for word in words if isinstance(word, int)), WHITE if image.mode == "I" else 255)
        kind = "grey" if image.mode == "I" else "colour"
        return Depth(kind, None if most == WHITE else WHITE) if most > 255 else None
    raw = {word for word in words if isinstance(word, str)}
    if image.mode.startswith("I;16"):
        return Depth("grey", 2**12 - 1 if "I;12" in raw else None, is_white_zero(image))
    # Of CMYK, 0 is white.
    white = WHITE if image.mode == "CMYK" else None
    return Depth("colour", white) if any(";16" in word for word in raw) and image.mode not in {"I", "F"} else None


def is_white_zero(image: Image.Image) -> bool:
    """Return whether a file stores white as 0."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC) == 0


def explain_misread(image: Image.Image) -> str:
    """Return why Pillow would read other pixels than the file has; empty if it reads the right ones."""
    if not isinstance(image, TiffImageFile):
        return ""
    tags, decoders = image.tag_v2, {tile[0] for tile in image.tile}
    deep = max(tags.get(BITS, (1,))) > 8
    if tags.get(PLANES) == SEPARATE and (len(image.getbands()) == 2 or (deep and "libtiff" not in decoders)):
        return "its channels are stored one after the other, which Pillow misreads here"
    if SIGNED in tags.get(SAMPLE_FORMAT, ()):
        return "its pixels are signed numbers, whose range is unknown"
    return ""


def merge_highest(found: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the highest value of all images for each kind of depth.

    >>> merge_highest([{}, {"grey": 7}, {"grey": 9}])
    {'grey': 9}
    """
    merged: dict[str, int] = {}
    for kind, highest in (item for one in found for item in one.items()):
        merged[kind] = max(highest, merged.get(kind, 0))
    return merged


def explain_dark(highest: Mapping[str, int], white_level: int | None) -> str:
    """Return why the 16-bit images of a data set would become nearly black, and the remedy; empty if they would not.

    Args:
        highest: the highest value for each kind of depth, of all images.
        white_level: what is white, as configured: it is believed. None if nothing was configured.

    >>> explain_dark({"grey": 3_808}, None)
    'the 16-bit grey images have no value above 3,808 of 65,535, so they would be nearly black: set \
data.white_level=4095 (12 bits), or data.white_level=65535 if they are dark'
    """
    for kind, value in highest.items():
        if white_level is None and value <= DARK:
            bits = max(8, value.bit_length())
            remedy = f"set data.white_level={2**bits - 1} ({bits} bits)" if kind == "grey" else "save them with 8 bits"
            return (
                f"the 16-bit {kind} images have no value above {value:,} of {WHITE:,}, so they would be nearly black: "
                f"{remedy}, or data.white_level={WHITE} if they are dark"
            )
    return ""
