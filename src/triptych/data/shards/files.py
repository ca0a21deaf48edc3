"""Files of rows, memory-mapped, written by one process at a time.

A file is a `.npy` array, followed by a mark for each row, which says whose it is, and by a checksum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from triptych.errors import DamagedFileError
from triptych.system.checked import CHECKSUM_BYTES, reading, verify, write_checked
from triptych.system.files import writing_to
from triptych.system.memory_map import release_pages

# A new file has the rows of so many images, if there are so many.
IMAGES_PER_SHARD = 256
# The SHA-256 of each image, (n,) "S32".
Identities = NDArray[np.bytes_]
# For each row the SHA-256 of the image, "identity", and what else is known about it.
Marks = NDArray[np.void]
# Time between two attempts to take locks that other processes hold.
POLL_SECONDS = 0.1


class Layout(NamedTuple):
    """What the files of a folder hold.

    Attributes:
        shape: of a row.
        dtype: its number format.
        mark: the dtype of `Marks`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    mark: np.dtype[Any]


def write_rows(file: Path, marks: Marks, rows: NDArray[Any]) -> None:
    """Write rows, whose they are, and a checksum.

    Args:
        file: its path.
        marks: (n,) whose they are.
        rows: (n, ...) of any shape and number format.

    Raises:
        StorageError: there is no room, no permission, or something else in the way.
    """
    with write_checked(file) as stream:
        np.save(stream, rows, allow_pickle=False)
        stream.write(marks.tobytes())


def read_marks(file: Path, layout: Layout) -> Marks:
    """Return whose rows a file holds, (n,); a process reads them once, and verifies no checksum.

    Raises:
        DamagedFileError: it has another layout.
        FileNotFoundError: there is no such file.
    """
    with reading(file):
        found = file.stat()
        return _read_marks(file, layout, (found.st_ino, found.st_size))


@lru_cache(maxsize=2**12)
def _read_marks(file: Path, layout: Layout, state: tuple[int, int]) -> Marks:
    rows: np.memmap[Any, Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    end = rows.offset + rows.nbytes
    expected = end + len(rows) * layout.mark.itemsize + CHECKSUM_BYTES
    if rows.shape != (len(rows), *layout.shape) or rows.dtype != layout.dtype or state[1] != expected:
        raise DamagedFileError(file, f"it does not hold rows of {' x '.join(map(str, layout.shape))} {layout.dtype}")
    return np.fromfile(file, dtype=layout.mark, count=len(rows), offset=end)


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
        rows: (n, ...) of any shape and number format.
    """

    def __init__(self, file: Path) -> None:
        """Map a file."""
        mapped = np.load(file, mmap_mode="r", allow_pickle=False)
        # A plain view, because indexing a `numpy.memmap` takes several times as long.
        self.rows: NDArray[Any] = mapped.view(np.ndarray)

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
