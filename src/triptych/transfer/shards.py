"""Files of embeddings: a `.npy` array followed by its SHA-256, written atomically, by one process at a time.

NumPy ignores bytes after the array, so the file can be memory-mapped as it is. With array and checksum in one file, a
process that is killed cannot leave one without the other.
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
# Time between two attempts to take locks that other processes hold.
POLL_SECONDS = 0.1


def write_shard(file: Path, rows: NDArray[np.float32]) -> None:
    """Write an array (n, dimension) float32, followed by its checksum."""
    content = BytesIO()
    np.save(content, rows, allow_pickle=False)
    content.write(hashlib.sha256(content.getbuffer()).digest())
    write_atomically(file, content.getvalue())


def is_sound(file: Path, shape: tuple[int, int]) -> bool:
    """Return whether a file holds a float32 array of this shape that matches its checksum.

    Raises:
        FileNotFoundError: there is no such file.
    """
    content = memoryview(file.read_bytes())
    array, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    if hashlib.sha256(array).digest() != checksum:
        return False
    rows = np.load(BytesIO(array), allow_pickle=False)
    return bool(rows.shape == shape and rows.dtype == np.float32)


def read_checksum(file: Path) -> str:
    """Return the SHA-256 at the end of a file, hexadecimal; the array is not read."""
    with file.open("rb") as opened:
        opened.seek(-CHECKSUM_BYTES, os.SEEK_END)
        return opened.read().hex()


class MappedShard:
    """The array of a file, memory-mapped: only the rows that are used are read.

    Attributes:
        rows: (n, dimension) float32.
    """

    def __init__(self, file: Path) -> None:
        """Map a file."""
        mapped = np.load(file, mmap_mode="r", allow_pickle=False)
        # A plain view, because indexing a `numpy.memmap` takes several times as long.
        self.rows: NDArray[np.float32] = mapped.view(np.ndarray)

    def release(self) -> None:
        """Return the pages that were read to the system."""
        release_pages(self.rows)


@contextmanager
def try_lock(file: Path) -> Iterator[bool]:
    """Lock `file` while the block runs; yield False at once if another thread or process holds the lock.

    The operating system releases the lock when the process ends, however it ends.
    """
    lock_file = file.with_suffix(".lock")
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        # Removed before it is released: a process that has it open then sees that it is gone, and creates a new one.
        lock_file.unlink(missing_ok=True)
        lock.release()
