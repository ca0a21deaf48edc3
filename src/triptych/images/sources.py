"""Sequences of raw images, in memory or in files, decoded when asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from triptych.errors import DataError
from triptych.images.decoding import decode_image
from triptych.images.pixels import Pixels
from triptych.system.checked import hash_file
from triptych.system.memory_map import release_pages


class ImageSource(Protocol):
    """A sequence of raw images, decoded when asked for."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> Pixels:
        """Return image `index`: (height, width, channels) uint8."""

    def locate(self, index: int) -> Path | Pixels:
        """Return what a reader in another process needs for image `index`: its file, or its pixels."""

    def identify(self, index: int) -> bytes:
        """Return the SHA-256 of image `index`: of the file's bytes, or of the array's."""

    def release(self) -> None:
        """Release the memory of images that can be read again."""


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
        """Release the pages of a memory-mapped array, which would count as the process's memory until it ends."""
        release_pages(self.array)

    def identify(self, index: int) -> bytes:
        """Return the SHA-256 of the shape and the pixels of image `index`."""
        return hashlib.sha256(b"%r " % (self.array.shape[1:],) + self.array[index].tobytes()).digest()


@dataclass(frozen=True)
class FileImages:
    """Images in files, of any sizes, decoded to RGB.

    Attributes:
        files: the files.
        identities: the SHA-256 of each file when the data set was read; empty if any content will do.
    """

    files: tuple[Path, ...]
    identities: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pixels:
        return decode_image(self.files[index])

    def locate(self, index: int) -> Path:
        """Return the file of image `index`."""
        return self.files[index]

    def release(self) -> None:
        """Do nothing: no image is kept in memory."""

    def identify(self, index: int) -> bytes:
        """Return the SHA-256 of the file of image `index`.

        Raises:
            DataError: the file was changed after the data set was read, or is gone.
        """
        file = self.files[index]
        try:
            found = hash_file(file)
        except OSError as error:
            raise DataError(f"image {file} cannot be read ({error.strerror}): restore it") from error
        if self.identities and found != self.identities[index]:
            raise DataError(f"image {file} was changed after its data set was read: run the same command again")
        return found


def require_unchanged(images: ImageSource) -> None:
    """Check, before a result is stored under the hash of its images, that none of them was changed meanwhile.

    Raises:
        DataError: a file was changed after its data set was read, or is gone.
    """
    if isinstance(images, FileImages):
        for index in range(len(images)):
            images.identify(index)
