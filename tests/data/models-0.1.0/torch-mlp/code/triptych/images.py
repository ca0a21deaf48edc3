"""Raw images, and what becomes of them before a network without a backbone sees them.

A raw image is a (height, width, channels) uint8 array, 0..255, with 1 channel (gray) or 3 (RGB).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from triptych.errors import DataError, UnreadableImageError
from triptych.mapping import release_pages

Pixels = NDArray[np.uint8]

# What torchvision's ImageFolder takes for an image.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class ImageSource(Protocol):
    """A sequence of raw images, decoded when asked for."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> Pixels:
        """Return image `index`: (height, width, channels) uint8."""

    def locate(self, index: int) -> Path | Pixels:
        """Return what a worker needs in order to read image `index`: its file, or its pixels."""

    def identify(self, index: int) -> bytes:
        """Return the SHA-256 of image `index`: of the file's bytes, or of the array's."""

    def release(self) -> None:
        """Give back the memory that reading has taken and that can be read again."""


@dataclass(frozen=True)
class ArrayImages:
    """Images of one size in memory or memory-mapped: (n, height, width, channels) uint8."""

    array: Pixels

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> Pixels:
        return np.asarray(self.array[index])

    def locate(self, index: int) -> Pixels:
        """Return the pixels of image `index`."""
        return self[index]

    def release(self) -> None:
        """Give the pages of a memory-mapped array back, which else count as the process's until it ends."""
        release_pages(self.array)

    def identify(self, index: int) -> bytes:
        """Return the SHA-256 of the shape and the pixels of image `index`."""
        return hashlib.sha256(b"%r " % (self.array.shape[1:],) + self.array[index].tobytes()).digest()


@dataclass(frozen=True)
class FileImages:
    """Images in files, of any sizes, decoded to RGB."""

    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pixels:
        return decode_image(self.files[index])

    def locate(self, index: int) -> Path:
        """Return the file of image `index`."""
        return self.files[index]

    def release(self) -> None:
        """Nothing is held."""

    def identify(self, index: int) -> bytes:
        """Return the SHA-256 of the file of image `index`."""
        return identify_file(self.files[index])


def identify_file(file: Path) -> bytes:
    """Return the SHA-256 of a file's bytes; one that has not been written to since is not read again."""
    found = file.stat()
    return _hash_file(file, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=2**18)
def _hash_file(file: Path, size: int, changed: int) -> bytes:
    del size, changed  # part of the key alone
    return hashlib.sha256(file.read_bytes()).digest()


def decode_image(file: Path) -> Pixels:
    """Return an image file as (height, width, 3) uint8 RGB, turned upright as its EXIF says.

    Raises:
        DataError: the file is not a complete image, or above Pillow's limit of pixels.
    """
    with open_image(file) as image:
        return decode_opened(image, file)


@contextmanager
def open_image(file: Path) -> Iterator[Image.Image]:
    """Open an image file; whatever goes wrong with it while the block runs is an error of one kind.

    Raises:
        UnreadableImageError: the file is not a complete image, or above Pillow's limit of pixels.
    """
    try:
        with Image.open(file) as image:
            _refuse_bomb(image, file)
            yield image
    except DataError:
        raise
    except Exception as error:
        # Damaged files raise nearly anything in Pillow's readers, from struct.error to AttributeError.
        raise UnreadableImageError(file, _explain(error, file)) from error


def _refuse_bomb(image: Image.Image, file: Path) -> None:
    """Refuse at Pillow's limit itself: Pillow only warns of images up to twice as large."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        reason = f"{image.width} x {image.height} pixels, a decompression bomb by Pillow's limit of {limit:,}"
        raise UnreadableImageError(file, reason, "scale it down, or remove the file")


def _explain(error: Exception, file: Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no image format that Pillow knows" if file.stat().st_size else "the file is empty"
    return " ".join(str(error).split()) or type(error).__name__


def decode_opened(image: Image.Image, file: Path) -> Pixels:
    """Return an opened image as (height, width, 3) uint8 RGB, turned upright as its EXIF says."""
    return np.asarray(convert_to_rgb(ImageOps.exif_transpose(image), file))


def convert_to_rgb(image: Image.Image, file: Path) -> Image.Image:
    """Return an image as 8-bit RGB: 16 bits are scaled to 8, and what is transparent is laid on white.

    Raises:
        DataError: the pixels are floating-point or 32-bit numbers, whose range is anybody's guess.
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


def make_thumbnail(image: Pixels, side: int) -> Pixels:
    """Return the image scaled to cover a square and cut out of its middle.

    Args:
        image: (height, width, channels) uint8.
        side: side of the square, pixels.

    Returns:
        (side, side, channels) uint8.
    """
    if image.shape[:2] == (side, side):
        return image
    mode = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    square = ImageOps.fit(mode, (side, side), method=Image.Resampling.BILINEAR)
    return np.asarray(square).reshape(side, side, image.shape[2])


def match_channels(image: Pixels, channels: int) -> Pixels:
    """Return the image with 1 (luma of ITU-R BT.601, as Pillow's "L") or 3 channels (gray repeated)."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]


def stack_as(images: Sequence[Pixels] | Pixels, shape: tuple[int, int, int]) -> Pixels:
    """Return images of any sizes as one array of the shape that a network was trained on.

    Args:
        images: raw images, each (height, width, channels) uint8.
        shape: (height, width, channels) to bring them to; photos are cut to a square thumbnail.

    Returns:
        (n, height, width, channels) uint8.

    Raises:
        DataError: the network wants oblong images of another size.
    """
    height, width, channels = shape
    stacked = np.empty((len(images), *shape), dtype=np.uint8)
    for row, image in zip(stacked, images, strict=True):
        if image.shape[:2] != (height, width) and height != width:
            raise DataError(f"image of {image.shape[:2]} pixels: this network takes {height} x {width} only")
        fitted = image if image.shape[:2] == (height, width) else make_thumbnail(image, height)
        row[:] = match_channels(fitted, channels)
    return stacked


# What the pixel values 0 and 255 become.
INPUT_RANGES = {"symmetric": (-1.0, 1.0), "unit": (0.0, 1.0)}


def scale_pixels(pixels: Pixels, dtype: str = "float32", input_range: str = "symmetric") -> NDArray[np.floating]:
    """Return pixels as one row per image, scaled from 0..255 to [-1, 1] or [0, 1].

    Args:
        pixels: (n, height, width, channels) uint8.
        dtype: number format of the result.
        input_range: a row of `INPUT_RANGES`.

    Returns:
        (n, height * width * channels) of `dtype`.
    """
    rows = pixels.reshape(len(pixels), -1).astype(dtype)
    low, high = INPUT_RANGES[input_range]
    rows *= (high - low) / 255.0
    rows += low
    return rows


def iterate_slices(length: int, size: int) -> Iterator[slice]:
    """Yield consecutive slices that cover `range(length)`, each at most `size` long."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
