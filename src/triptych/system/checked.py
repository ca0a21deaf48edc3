"""Files with a checksum of their own, so that a damaged one is noticed when it is read.

A binary file ends with its SHA-256, which NumPy's readers ignore; a JSON file begins with it. With content and checksum
in one file, a process that is killed cannot leave one without the other. The checksum covers what the file is for, by
default its name and that of its folder: a file that was copied over another one is damaged, too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DamagedFileError
from triptych.system.files import replace_atomically, write_atomically
from triptych.system.paths import cache_home

# Part of every checksum. Change it when files are laid out differently, so that old ones are written anew.
FORMAT = "triptych 1"
CHECKSUM_BYTES = hashlib.sha256().digest_size
JSON_START = b'{"sha256": "%s", '
JSON_START_BYTES = len(JSON_START % (b"0" * 2 * CHECKSUM_BYTES))
BLOCK_BYTES = 2**20
WRONG = "its checksum is wrong, or another version wrote it"

Result = TypeVar("Result")
log = logging.getLogger(__name__)


class CheckedStream:
    """A file that is written from start to end, and hashed meanwhile; enough of a file for NumPy.

    Attributes:
        digest: the SHA-256 so far.
    """

    def __init__(self, opened: BinaryIO, purpose: bytes) -> None:
        """Start with the hash of what the file is for."""
        self._opened = opened
        self.digest = hashlib.sha256(purpose)

    def write(self, content: Any) -> int:
        """Write and hash some bytes."""
        self.digest.update(content)
        return self._opened.write(content)

    def read(self, size: int = -1) -> bytes:
        """Do nothing: NumPy takes only what has this method for a file."""
        raise OSError(f"{size} bytes cannot be read from a file that is being written")

    def flush(self) -> None:
        """Flush the file."""
        self._opened.flush()


@contextmanager
def write_checked(file: Path, purpose: str | None = None) -> Iterator[CheckedStream]:
    """Yield a stream to write a binary file, which gets its checksum and its place when the block ends without error.

    Args:
        file: its path.
        purpose: what it is for; None: its name and that of its folder.

    Raises:
        StorageError: there is no room, no permission, or something else in the way.
    """
    with replace_atomically(file) as partial, partial.open("wb") as opened:
        stream = CheckedStream(opened, _describe(file, purpose))
        yield stream
        opened.write(stream.digest.digest())


def verify(file: Path, purpose: str | None = None) -> None:
    """Check a binary file against its checksum; a file that has not changed is read only once by a process.

    Args:
        file: its path.
        purpose: as given to `write_checked`.

    Raises:
        DamagedFileError: it is not what was written.
        FileNotFoundError: there is no such file.
    """
    with reading(file):
        found = file.stat()
        _verify_state(file, purpose, (found.st_ino, found.st_size, found.st_mtime_ns))


def map_checked(file: Path) -> NDArray[Any]:
    """Return the array of a `.npy` file from `write_checked`, memory-mapped, after checking it.

    Raises:
        DamagedFileError: it is not what was written.
        FileNotFoundError: there is no such file.
    """
    verify(file)
    with reading(file):  # another user may have taken the right to read it since it was verified
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
        return array


@lru_cache(maxsize=2**16)
def _verify_state(file: Path, purpose: str | None, state: tuple[int, int, int]) -> None:
    del state  # only part of the key of the cache
    digest = hashlib.sha256(_describe(file, purpose))
    with file.open("rb") as opened:
        left = max(0, os.fstat(opened.fileno()).st_size - CHECKSUM_BYTES)
        while block := opened.read(min(left, BLOCK_BYTES)):
            digest.update(block)
            left -= len(block)
        if opened.read() != digest.digest():
            raise DamagedFileError(file, WRONG)


def hash_file(file: Path) -> bytes:
    """Return the SHA-256 of a file's bytes; a file that has not changed is read only once by a process."""
    found = file.stat()
    return _hash_state(file, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(maxsize=2**18)
def _hash_state(file: Path, state: tuple[int, ...]) -> bytes:
    del state  # only part of the key of the cache
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def list_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder, hexadecimal, by its path in the folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): hash_file(file).hex() for file in files}


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file that begins with its checksum.

    Raises:
        StorageError: there is no room, no permission, or something else in the way.
    """
    rest = (json.dumps(content)[1:] + "\n").encode()
    write_atomically(file, _begin_json(file, rest) + rest)


def read_json(file: Path) -> dict[str, Any]:
    """Return the content of a file from `write_json`.

    Raises:
        DamagedFileError: it is not what was written.
        FileNotFoundError: there is no such file.
    """
    with reading(file):
        stored = file.read_bytes()
        start, rest = stored[:JSON_START_BYTES], stored[JSON_START_BYTES:]
        if start != _begin_json(file, rest):
            raise DamagedFileError(file, WRONG if stored else "it is empty")
        content: dict[str, Any] = json.loads(b"{" + rest)
        return content


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `.npz` file by name; NumPy checks the checksum that each of them has.

    Raises:
        DamagedFileError: it cannot be read.
        FileNotFoundError: there is no such file.
    """
    with reading(file), np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Turn any error of a block that reads a file into one that names it, except that there is no such file.

    Raises:
        DamagedFileError: the file cannot be read.
    """
    try:
        yield
    except (FileNotFoundError, DamagedFileError):
        raise
    except Exception as error:  # readers of formats raise almost any error, from struct.error to RuntimeError
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise DamagedFileError(file, reason) from error


def recall(read: Callable[[], Result]) -> Result | None:
    """Return what a function reads from the cache; None if a file is missing or damaged, so that it is made anew."""
    try:
        return read()
    except FileNotFoundError:
        return None
    except DamagedFileError as damaged:
        discard(damaged)
        return None


def discard(damaged: DamagedFileError) -> None:
    """Say that a damaged file is made anew; delete it if it is in the cache, or the folder that is in its place."""
    log.warning("%s is damaged (%s): it is made anew", damaged.file, damaged.reason)
    if damaged.file.is_relative_to(cache_home()):
        with suppress(OSError):  # if it cannot be deleted, it cannot be replaced either, which is reported there
            shutil.rmtree(damaged.file) if damaged.file.is_dir() else damaged.file.unlink(missing_ok=True)


def _describe(file: Path, purpose: str | None) -> bytes:
    named = f"{file.parent.name}/{file.name}" if purpose is None else purpose
    return f"{FORMAT} {named}\n".encode()


def _begin_json(file: Path, rest: bytes) -> bytes:
    return JSON_START % hashlib.sha256(_describe(file, None) + rest).hexdigest().encode()
