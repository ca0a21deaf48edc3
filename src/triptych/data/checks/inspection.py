"""The inspection of single images: whether and how each can be read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from PIL import Image

from triptych.data.duplicates import identify_pixels, shrink
from triptych.errors import UnreadableImageError
from triptych.images.decoding import Decoded, decode_opened, open_image
from triptych.images.depth import WHITE, find_depth, is_white_zero
from triptych.images.formats import list_formats
from triptych.images.pixels import Pixels
from triptych.images.room import ROOM
from triptych.images.sources import FileImages, ImageSource
from triptych.system.slices import iterate_slices

READING_THREADS = 4
SLICE_PIXELS = 2**18
Looked = TypeVar("Looked")


@dataclass(frozen=True)
class Trait(Generic[Looked]):
    """A property of an image that is worth knowing.

    Attributes:
        recognise: returns whether an image has it.
        reading: how such images are read, worded to follow "12 images ".
    """

    recognise: Callable[[Looked], bool]
    reading: str


def _has_several_pictures(image: Image.Image) -> bool:
    """Return whether a file has several frames or pages.

    Some readers have to look for them. That is done in a file of its own: a later page that is damaged ends in an error
    there, while the first one can be read.
    """
    if not hasattr(type(image), "n_frames"):
        return bool(getattr(image, "n_frames", 1) > 1)
    stream: Any = getattr(image, "fp", None)
    with suppress(Exception), Image.open(stream.name, formats=list_formats()) as again:
        return bool(getattr(again, "n_frames", 1) > 1)
    return False


def _is_plain(pixels: Pixels) -> bool:
    """Return whether all pixels have one colour; most images answer in their first row, the others in slices."""
    first, rows = pixels[0, 0], max(1, SLICE_PIXELS // pixels.shape[1])
    slices = (slice(0, 1), *iterate_slices(len(pixels), rows))
    return all(bool((pixels[part] == first).all()) for part in slices)


# Of an image that is not loaded yet. No row may load it: only the first attempt notices that the pixels are damaged.
FILE_TRAITS: dict[str, Trait[Image.Image]] = {
    "cmyk": Trait(
        lambda image: image.mode == "CMYK",
        "are CMYK: they are converted to RGB without their colour profile, so colours may shift",
    ),
    "sixteen_bits": Trait(
        lambda image: find_depth(image) is not None,
        "have 16 bits per channel: they are reduced to 8",
    ),
    "white_is_zero": Trait(
        is_white_zero,
        "store white as 0: they are inverted, as in a viewer",
    ),
    "alpha": Trait(
        lambda image: image.has_transparency_data,
        "have transparency: they are composited on white",
    ),
    "several_pictures": Trait(
        _has_several_pictures,
        "contain several frames or pages: only the first is read",
    ),
    "palette": Trait(
        lambda image: image.mode in {"P", "PA"},
        "have a colour palette: they are converted to RGB",
    ),
    "grey": Trait(
        lambda image: image.mode in {"1", "L", "LA", "I"} or image.mode.startswith("I;16"),
        "are greyscale: the grey channel is repeated three times",
    ),
}
DECODED_TRAITS: dict[str, Trait[Decoded]] = {
    "turned": Trait(
        lambda decoded: decoded.turned,
        "have an EXIF orientation: they are rotated or mirrored accordingly, as in a viewer",
    ),
    "one_colour": Trait(
        lambda decoded: _is_plain(decoded.pixels),
        "have one colour everywhere: they are read, but show nothing",
    ),
}
TRAITS: dict[str, Trait[Any]] = {**FILE_TRAITS, **DECODED_TRAITS}


@dataclass(frozen=True)
class Inspection:
    """The properties of one image.

    Attributes:
        problem: why it cannot be read; empty if it can.
        height: in pixels, after EXIF rotation; 0 if it cannot be read.
        width: in pixels, after EXIF rotation; 0 if it cannot be read.
        traits: names of the rows of `TRAITS` that apply.
        identity: SHA-256 of the decoded pixels; None if it cannot be read.
        shrunk: what `shrink` returns, for comparison with others; None if it is too small or cannot be read.
        highest: its highest value of 16 bits, as in `Decoded`.
    """

    problem: str = ""
    height: int = 0
    width: int = 0
    traits: tuple[str, ...] = ()
    identity: bytes | None = None
    shrunk: bytes | None = None
    highest: dict[str, int] = field(default_factory=dict)


def inspect_images(images: ImageSource, on_image: Callable[[int, int], None]) -> list[Inspection]:
    """Return the properties of every image; those that cannot be read do not stop the others.

    Args:
        images: the raw images.
        on_image: called with the number of images read so far and the number of all images.
    """
    if not isinstance(images, FileImages):
        inspected = [_inspect_decoded(Decoded(images[index]), ()) for index in range(len(images))]
        on_image(len(images), len(images))
        return inspected
    inspections: list[Inspection] = []
    with ThreadPoolExecutor(READING_THREADS) as pool:
        for inspection in pool.map(partial(inspect_file, white_level=images.white_level), images.files):
            inspections.append(inspection)
            on_image(len(inspections), len(images))
    return inspections


def inspect_file(file: Path, white_level: int = WHITE) -> Inspection:
    """Return the properties of an image file, decoded as for training with a white level."""
    try:
        with ExitStack() as held:
            with open_image(file) as image:
                traits = tuple(name for name, trait in FILE_TRAITS.items() if trait.recognise(image))
                held.enter_context(ROOM.hold(image.width * image.height))
                decoded = decode_opened(image, file, white_level)
            del image  # Pillow's copy
            return _inspect_decoded(decoded, traits)
    except UnreadableImageError as error:
        return Inspection(problem=f"{error.reason}: {error.remedy}")


def _inspect_decoded(decoded: Decoded, traits: tuple[str, ...]) -> Inspection:
    pixels = decoded.pixels
    height, width, _ = pixels.shape
    traits += tuple(name for name, trait in DECODED_TRAITS.items() if trait.recognise(decoded))
    return Inspection("", height, width, traits, identify_pixels(pixels), shrink(pixels), decoded.highest)
