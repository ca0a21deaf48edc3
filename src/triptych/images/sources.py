"""Sequences of raw images, in memory or in files, decoded when asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from triptych.images.decoding import decode_image
from triptych.images.pixels import Pixels
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
        """Do nothing: no image is kept in memory."""

    def identify(self, index: int) -> bytes:
        """Return the SHA-256 of the file of image `index`."""
        return identify_file(self.files[index])


def identify_file(file: Path) -> bytes:
    """Return the SHA-256 of a file's bytes; an unchanged file is read only once."""
    found = file.stat()
    return _hash_file(file, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=2**18)
def _hash_file(file: Path, size: int, changed: int) -> bytes:
    del size, changed  # only part of the key of the cache
    return hashlib.sha256(file.read_bytes()).digest()
