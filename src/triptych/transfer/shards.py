"""Files of embeddings: a `.npy` array with its SHA-256 behind it, whole or absent, computed by one process at a time.

What follows an array in a `.npy` file is ignored by NumPy, so that the file can be memory-mapped as it is; and as
array and checksum are one file, no death of the process can part them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from triptych.system.files import write_atomically
from triptych.system.memory_map import release_pages

CHECKSUM_BYTES = hashlib.sha256().digest_size
# Between two looks at a lock that another process holds.
POLL_SECONDS = 0.1


def write_shard(file: Path, rows: NDArray[np.float32]) -> None:
    """Write an array (n, dimension) float32 with its checksum behind it."""
    content = BytesIO()
    np.save(content, rows, allow_pickle=False)
    content.write(hashlib.sha256(content.getbuffer()).digest())
    write_atomically(file, content.getvalue())


def is_sound(file: Path, shape: tuple[int, int]) -> bool:
    """Return whether a file holds a float32 array of this shape, byte for byte what was written."""
    content = memoryview(file.read_bytes())
    array, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    if hashlib.sha256(array).digest() != checksum:
        return False
    rows = np.load(BytesIO(array), allow_pickle=False)
    return bool(rows.shape == shape and rows.dtype == np.float32)


def read_checksum(file: Path) -> str:
    """Return the checksum that a file ends with, hexadecimal: equal only for the same bits in the same order."""
    with file.open("rb") as opened:
        opened.seek(-CHECKSUM_BYTES, os.SEEK_END)
        return opened.read().hex()


class MappedShard:
    """The array of a file, memory-mapped: only what is looked at is read.

    Attributes:
        rows: (n, dimension) float32.
    """

    def __init__(self, file: Path) -> None:
        """Map a file."""
        mapped = np.load(file, mmap_mode="r", allow_pickle=False)
        # A plain view: NumPy's class for mapped arrays takes several times as long to index.
        self.rows: NDArray[np.float32] = mapped.view(np.ndarray)

    def release(self) -> None:
        """Give the pages that were read back to the system."""
        release_pages(self.rows)


@contextmanager
def try_lock(file: Path) -> Iterator[bool]:
    """Yield whether this thread alone may write `file` while the block runs; another may be at it already.

    The lock is the operating system's, and vanishes with the process that holds it.
    """
    place = file.with_suffix(".lock")
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        # Removed while it is held: whoever has it open finds it gone, and makes a new one.
        place.unlink(missing_ok=True)
        lock.release()
