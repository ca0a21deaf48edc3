"""The inspection of single images: whether and how each can be read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageFile

from triptych.data.duplicates import identify_pixels, shrink
from triptych.errors import UnreadableImageError
from triptych.images.decoding import decode_opened, open_image, read_orientation
from triptych.images.pixels import Pixels
from triptych.images.room import ROOM
from triptych.images.sources import FileImages, ImageSource

READING_THREADS = 4


@dataclass(frozen=True)
class Trait:
    """A property of an image file that changes how it is read.

    Attributes:
        recognise: returns whether an image that is opened but not yet decoded has it.
        reading: how such images are read, worded to follow "12 images ".
    """

    recognise: Callable[[Image.Image], bool]
    reading: str


def _has_sixteen_bits(image: Image.Image) -> bool:
    """Return whether the file has more than 8 bits per channel, which Pillow's mode shows for grey images only."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    arguments = [tile[3] if isinstance(tile[3], tuple) else (tile[3],) for tile in tiles]
    raw = any(isinstance(word, str) and ";16" in word for words in arguments for word in words)
    return raw or image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")


TRAITS = {
    "cmyk": Trait(
        lambda image: image.mode == "CMYK",
        "are CMYK: they are converted to RGB without their colour profile, so colours may shift",
    ),
    "sixteen_bits": Trait(
        _has_sixteen_bits,
        "have 16 bits per channel: they are reduced to 8",
    ),
    "alpha": Trait(
        lambda image: image.has_transparency_data,
        "have transparency: they are composited on white",
    ),
    "turned": Trait(
        lambda image: read_orientation(image) > 1,
        "have an EXIF orientation: they are rotated or mirrored accordingly, as in a viewer",
    ),
    "several_pictures": Trait(
        lambda image: getattr(image, "n_frames", 1) > 1,
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
    """

    problem: str = ""
    height: int = 0
    width: int = 0
    traits: tuple[str, ...] = ()
    identity: bytes | None = None
    shrunk: bytes | None = None


def inspect_images(images: ImageSource, on_image: Callable[[int, int], None]) -> list[Inspection]:
    """Return the properties of every image; those that cannot be read do not stop the others.

    Args:
        images: the raw images.
        on_image: called with the number of images read so far and the number of all images.
    """
    if not isinstance(images, FileImages):
        inspected = [_inspect_pixels(images[index], ()) for index in range(len(images))]
        on_image(len(images), len(images))
        return inspected
    inspections: list[Inspection] = []
    with ThreadPoolExecutor(READING_THREADS) as pool:
        for inspection in pool.map(inspect_file, images.files):
            inspections.append(inspection)
            on_image(len(inspections), len(images))
    return inspections


def inspect_file(file: Path) -> Inspection:
    """Return the properties of an image file, decoded as for training."""
    try:
        with ExitStack() as held:
            with open_image(file) as image:
                traits = tuple(name for name, trait in TRAITS.items() if trait.recognise(image))
                held.enter_context(ROOM.hold(image.width * image.height))
                pixels = decode_opened(image, file)
            del image  # Pillow's copy
            return _inspect_pixels(pixels, traits)
    except UnreadableImageError as error:
        return Inspection(problem=f"{error.reason}: {error.remedy}")


def _inspect_pixels(pixels: Pixels, traits: tuple[str, ...]) -> Inspection:
    height, width, _ = pixels.shape
    return Inspection("", height, width, traits, identify_pixels(pixels), shrink(pixels))
