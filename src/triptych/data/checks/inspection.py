"""What one image is, and how it will be read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, ImageFile

from triptych.data.duplicates import identify_pixels, shrink_for_hash
from triptych.errors import UnreadableImageError
from triptych.images.decoding import decode_opened, open_image
from triptych.images.pixels import Pixels
from triptych.images.sources import FileImages, ImageSource

READING_THREADS = 4


@dataclass(frozen=True)
class Trait:
    """Something about a file that changes how it is read.

    Attributes:
        recognise: whether an opened image, not yet decoded, has it.
        reading: what becomes of such images, to follow "12 images ".
    """

    recognise: Callable[[Image.Image], bool]
    reading: str


def _has_sixteen_bits(image: Image.Image) -> bool:
    """Return whether more than 8 bits a channel are stored; Pillow's mode tells only for grey ones."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    arguments = [tile[3] if isinstance(tile[3], tuple) else (tile[3],) for tile in tiles]
    raw = any(isinstance(word, str) and ";16" in word for words in arguments for word in words)
    return raw or image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")


def _is_turned(image: Image.Image) -> bool:
    return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)


TRAITS = {
    "cmyk": Trait(
        lambda image: image.mode == "CMYK",
        "are CMYK: they become RGB by a plain formula without their colour profile, so colours may shift",
    ),
    "sixteen_bits": Trait(
        _has_sixteen_bits,
        "have 16 bits a channel: they are reduced to 8",
    ),
    "alpha": Trait(
        lambda image: image.has_transparency_data,
        "can be transparent (alpha): they are laid on white",
    ),
    "turned": Trait(
        _is_turned,
        "are to be turned or mirrored by their EXIF: they are read upright, as a viewer shows them",
    ),
    "several_pictures": Trait(
        lambda image: getattr(image, "n_frames", 1) > 1,
        "hold several pictures (animation, pages): only the first is read",
    ),
    "palette": Trait(
        lambda image: image.mode in {"P", "PA"},
        "have a palette: each index becomes its colour",
    ),
    "grey": Trait(
        lambda image: image.mode in {"1", "L", "LA", "I"} or image.mode.startswith("I;16"),
        "have no colour: their grey is repeated in three channels",
    ),
}


@dataclass(frozen=True)
class Inspection:
    """What one image is.

    Attributes:
        problem: why it cannot be read; empty where it can.
        height: pixels, upright; 0 where it cannot be read.
        width: pixels, upright; 0 where it cannot be read.
        traits: the rows of `TRAITS` that it has.
        identity: hash of the decoded pixels, or None.
        shrunk: (16, 17, channels) uint8, what it is compared by, or None.
    """

    problem: str = ""
    height: int = 0
    width: int = 0
    traits: tuple[str, ...] = ()
    identity: bytes | None = None
    shrunk: Pixels | None = None


def inspect_images(images: ImageSource, on_image: Callable[[int, int], None]) -> list[Inspection]:
    """Read every image, whatever is wrong with some.

    Args:
        images: the raw images.
        on_image: called with the number of images read and the number of all.
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
    """Return what an image file is, decoded as for training."""
    try:
        with open_image(file) as image:
            traits = tuple(name for name, trait in TRAITS.items() if trait.recognise(image))
            return _inspect_pixels(decode_opened(image, file), traits)
    except UnreadableImageError as error:
        return Inspection(problem=f"{error.reason}: {error.remedy}")


def _inspect_pixels(pixels: Pixels, traits: tuple[str, ...]) -> Inspection:
    height, width, _ = pixels.shape
    return Inspection("", height, width, traits, identify_pixels(pixels), shrink_for_hash(pixels))
