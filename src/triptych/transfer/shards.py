"""Files of embeddings: a `.npy` array followed by its checksum, memory-mapped, written by one process at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from triptych.errors import DamagedFileError
from triptych.system.checked import map_checked, verify, write_checked
from triptych.system.files import writing_to
from triptych.system.memory_map import release_pages

# Time between two attempts to take locks that other processes hold.
POLL_SECONDS = 0.1


def write_shard(file: Path, rows: NDArray[np.float32]) -> None:
    """Write an array (n, dimension) float32, followed by its checksum.

    Raises:
        StorageError: there is no room, no permission, or something else in the way.
    """
    with write_checked(file) as stream:
        np.save(stream, rows, allow_pickle=False)


def verify_shard(file: Path, shape: tuple[int, int]) -> None:
    """Check that a file holds a float32 array of this shape that matches its checksum.

    Raises:
        DamagedFileError: it does not.
        FileNotFoundError: there is no such file.
    """
    rows = map_checked(file)
    if rows.shape != shape or rows.dtype != np.float32:
        raise DamagedFileError(file, f"it holds {rows.shape} {rows.dtype}, not {shape} float32")


def are_sound(files: Iterable[Path]) -> bool:
    """Return whether all files exist and match their checksums."""
    try:
        for file in files:
            verify(file)
    except (FileNotFoundError, DamagedFileError):
        return False
    return True


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

    Raises:
        StorageError: the lock cannot be written.
    """
    lock_file = file.with_suffix(".lock")
    lock = FileLock(lock_file)
    try:
        with writing_to(lock_file):
            lock_file.parent.mkdir(parents=True, exist_ok=True)
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
