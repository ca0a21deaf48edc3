"""Sequences of raw images, in memory or in files, decoded when asked for."""

from __future__ import annotations

import errno
import hashlib
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych.images.decoding import Decoded, decoding
from triptych.images.depth import WHITE
from triptych.images.pixels import Pixels
from triptych.system.checked import hash_file
from triptych.system.memory_map import release_pages

Result = TypeVar("Result")
# The size of a file in bytes, and the time of its last change in nanoseconds.
State = tuple[int, int]


class ImageSource(Protocol):
    """A sequence of raw images, decoded when asked for."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> Pixels:
        """Return image `index`: (height, width, channels) uint8."""

    def apply(self, index: int, work: Callable[[Pixels], Result]) -> Result:
        """Return what a function makes of image `index`; a large image waits until there is room for it."""

    def locate(self, index: int) -> ImageFile | Pixels:
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

    def apply(self, index: int, work: Callable[[Pixels], Result]) -> Result:
        """Return what a function makes of image `index`."""
        return work(self[index])

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
class ImageFile:
    """An image in a file, which a reader in another process can open, too.

    Attributes:
        path: the file.
        identity: its SHA-256 when the data set was read; empty if any content will do.
        state: its size and time then; None if they are unknown.
        white_level: the value of 16 bits that becomes 255, unless the file says which.
    """

    path: Path
    identity: bytes = b""
    state: State | None = None
    white_level: int = WHITE

    def identify(self) -> bytes:
        """Return the SHA-256 of the file; it is computed only if size or time are not those of the data set.

        Raises:
            DataError: the file was changed after the data set was read, or is gone.
        """
        try:
            state = read_state(self.path)
            if self.identity and self.state == state:
                return self.identity
            found = hash_file(self.path)
        except OSError as error:
            remedy = "restore it, or run the same command again without it"
            raise DataError(f"image {self.path} cannot be read ({error.strerror}): {remedy}") from error
        if self.identity and found != self.identity:
            raise DataError(f"image {self.path} was changed after its data set was read: run the same command again")
        return found

    @contextmanager
    def opened(self) -> Iterator[Decoded]:
        """Yield the decoded image; a large one has room while the block runs.

        Raises:
            DataError: the file was changed after the data set was read, is gone, or cannot be read.
        """
        if self.identity:
            self.identify()
        with decoding(self.path, self.white_level) as decoded:
            yield decoded


@dataclass(frozen=True)
class FileImages:
    """Images in files, of any sizes, decoded to RGB.

    Attributes:
        files: the files.
        identities: the SHA-256 of each file when the data set was read; empty if any content will do.
        states: the size and the time of each file then; empty if they are unknown.
        white_level: the value of 16 bits that becomes 255, unless a file says which.
    """

    files: tuple[Path, ...]
    identities: tuple[bytes, ...] = ()
    states: tuple[State, ...] = ()
    white_level: int = WHITE

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pixels:
        return self.apply(index, lambda pixels: pixels)

    def apply(self, index: int, work: Callable[[Pixels], Result]) -> Result:
        """Return what a function makes of image `index`; a large image waits until there is room for it."""
        with self.locate(index).opened() as decoded:
            return work(decoded.pixels)

    def locate(self, index: int) -> ImageFile:
        """Return the file of image `index`."""
        identity = self.identities[index] if self.identities else b""
        state = self.states[index] if self.states else None
        return ImageFile(self.files[index], identity, state, self.white_level)

    def release(self) -> None:
        """Do nothing: no image is kept in memory."""

    def identify(self, index: int) -> bytes:
        """Return the SHA-256 of the file of image `index`; with a white level of its own, that of both.

        Raises:
            DataError: the file was changed after the data set was read, or is gone.
        """
        return identify_at(self.locate(index).identify(), self.white_level)

    def list_identities(self) -> list[bytes]:
        """Return what `identify` returns of every image, as long as none is changed; no file is looked at."""
        return [identify_at(identity, self.white_level) for identity in self.identities]


@dataclass(frozen=True)
class SelectedImages(Sequence[Pixels]):
    """Some images of a source as a sequence; each is decoded when it is taken, so that one at a time is in memory.

    Attributes:
        images: the source.
        indices: (n,) int64, its images in this order.
    """

    images: ImageSource
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, rows: int) -> Pixels: ...
    @overload
    def __getitem__(self, rows: slice) -> SelectedImages: ...
    def __getitem__(self, rows: int | slice) -> Pixels | SelectedImages:
        """Decode one image, or select some."""
        if isinstance(rows, slice):
            return replace(self, indices=self.indices[rows])
        return self.images[int(self.indices[rows])]


def identify_at(identity: bytes, white_level: int) -> bytes:
    """Return the SHA-256 that an image is known by, given that of its file and the white level it is read with."""
    return identity if white_level == WHITE else hashlib.sha256(identity + b"%d" % white_level).digest()


def read_state(file: Path) -> State:
    """Return the size of a file in bytes, and the time of its last change in nanoseconds.

    Raises:
        OSError: there is no such file, or it is a pipe or the like, which would be waited for forever.
    """
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    return found.st_size, found.st_mtime_ns


def require_unchanged(images: ImageSource) -> None:
    """Check, before a result is stored under the hash of its images, that none of them was changed meanwhile.

    Raises:
        DataError: a file was changed after its data set was read, or is gone.
    """
    if isinstance(images, FileImages):
        for index in range(len(images)):
            images.identify(index)
