"""Pixels of more than 8 bits: which value is white, and whether a data set's are so low that it would be black."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median_high
from typing import Any, NamedTuple

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

# The highest value of 16 bits, and white unless a file or `data.white_level` says otherwise.
WHITE = 2**16 - 1
# If most 16-bit images of a data set have no higher value, most likely they have 14 bits or fewer.
DARK = 2**14 - 1
# If those of one class reach values so many times as high as those of another, most likely their depths differ.
MIXED = 8
PHOTOMETRIC, BITS, SAMPLE_FORMAT, PLANES, COLOUR_MAP = 262, 258, 339, 284, 320
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


def _list_words(image: Image.Image) -> list[Any]:
    """Return what Pillow tells its decoders, among it how the pixels are stored, such as "L;4"."""
    tiles = getattr(image, "tile", [])
    return [word for tile in tiles for word in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))]


def scale_transparency(image: Image.Image) -> None:
    """Give the transparent value of a PNG that is not loaded yet the range of its pixels; Pillow leaves it as stored.

    Of 16-bit colours, only the upper 8 bits are read and can be compared. 16-bit grey pixels keep their range.
    """
    value = image.info.get("transparency")
    if image.format != "PNG" or value is None:
        return
    words = _list_words(image)
    factor = next((factor for word, factor in (("L;2", 85), ("L;4", 17)) if word in words), 1)
    if isinstance(value, tuple) and find_depth(image) is not None:
        image.info["transparency"] = tuple(one >> 8 for one in value)
    elif isinstance(value, int):
        image.info["transparency"] = value * factor


def find_depth(image: Image.Image) -> Depth | None:
    """Return what is known about the 16 bits of an image that is not loaded yet; None if it has 8 or fewer."""
    words = _list_words(image)
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
    if image.mode in {"P", "PA"} and 0 < max(tags.get(COLOUR_MAP) or (0,)) < 2**8:
        return "the colours of its palette have 8 bits instead of 16, which Pillow reads as black"
    return ""


def merge_highest(found: Iterable[Mapping[str, int]]) -> dict[str, list[int]]:
    """Return the highest value of every 16-bit image for each kind of depth, the lowest first.

    >>> merge_highest([{}, {"grey": 9}, {"grey": 7}])
    {'grey': [7, 9]}
    """
    merged: dict[str, list[int]] = {}
    for kind, highest in (item for one in found for item in one.items()):
        merged.setdefault(kind, []).append(highest)
    return {kind: sorted(values) for kind, values in merged.items()}


def explain_dark(highest: Mapping[str, Sequence[int]], white_level: int | None) -> str:
    """Return why most 16-bit images of a data set would be nearly black, and the remedy; empty if they would not.

    Args:
        highest: the highest value of every image for each kind of depth. A few bright images, or broken pixels, change
            nothing for the others.
        white_level: what is white, as configured: it is believed. None if nothing was configured.

    >>> explain_dark({"grey": [3_808]}, None)
    'the 16-bit grey images have no value above 3,808 of 65,535, so they would be nearly black: set \
data.white_level=4095 (12 bits), or data.white_level=65535 if they are dark'
    """
    for kind, values in highest.items():
        dark = [value for value in values if value <= DARK]
        if white_level is None and 2 * len(dark) > len(values):
            bits = max(8, max(dark).bit_length())
            remedy = f"set data.white_level={2**bits - 1} ({bits} bits)" if kind == "grey" else "save them with 8 bits"
            which, others = f"the 16-bit {kind} images", ""
            if len(dark) < len(values):
                which = f"{len(dark):,} of the {len(values):,} 16-bit {kind} images"
                others = f"; the highest value of the others is {max(values):,}"
            return (
                f"{which} have no value above {max(dark):,} of {WHITE:,}, so they would be nearly black: "
                f"{remedy}, or data.white_level={WHITE} if they are dark{others}"
            )
    return ""


def explain_mixed(highest: Mapping[str, Sequence[int]], white_level: int | None) -> str:
    """Return that the 16-bit images of some classes are much darker than those of others; empty if they are not.

    Args:
        highest: the highest value of every 16-bit image of each class that has any.
        white_level: as for `explain_dark`.

    >>> explain_mixed({"a": [60_000, 65_535, 4_000], "b": [4_095]}, None).partition(":")[0]
    "half of the 16-bit images of class 'a' reach 60,000, those of class 'b' only 4,095"
    """
    medians = {name: median_high(values) for name, values in highest.items()}
    if white_level is not None or not medians:
        return ""
    most, least = max(medians, key=medians.__getitem__), min(medians, key=medians.__getitem__)
    if medians[most] <= MIXED * medians[least]:
        return ""
    return (
        f"half of the 16-bit images of class {most!r} reach {medians[most]:,}, those of class {least!r} only "
        f"{medians[least]:,}: save all with the same depth, or a network learns to tell depths apart; set "
        f"data.white_level={WHITE} if they have the same"
    )
