"""Reading the rows of many files as one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.shards.files import MappedShard
from triptych.data.shards.places import Run

# A selection up to this size is copied into memory: taking batches from one array is faster than from many files.
COPIED_BYTES = 64 * 2**20
# Pages that were read count as the process's memory until they are released, after this many rows. The system maps
# up to 64 KiB around an isolated row, so unreleased pages take at most 64 MiB.
ROWS_BETWEEN_RELEASES = 1024


class MappedShards:
    """Memory-mapped files of rows; pages that were read are released again and again, to save memory.

    Attributes:
        shards: the files.
        owners: (n,) int32, for each image the index of its file.
        rows: (n,) int64, its row in the file.
        row_shape: the shape of a row.
        dtype: number format.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        """Map the files; nothing is read yet."""
        numbers = {file: number for number, file in enumerate(dict.fromkeys(run.file for run in runs))}
        self.shards = [MappedShard(file) for file in numbers]
        lengths = [run.stop - run.start for run in runs]
        self.owners = np.repeat(np.array([numbers[run.file] for run in runs], dtype=np.int32), lengths)
        shifts = np.array([run.start for run in runs]) - np.cumsum([0, *lengths[:-1]])
        self.rows: NDArray[np.int64] = np.arange(len(self.owners)) + np.repeat(shifts, lengths)
        self.row_shape: tuple[int, ...] = self.shards[0].rows.shape[1:]
        self.dtype: np.dtype[Any] = self.shards[0].rows.dtype
        self._rows_read = 0

    def copy_rows(self, images: NDArray[np.int64]) -> NDArray[Any]:
        """Return copies of the rows of images (n,) int64: (n, ...)."""
        copied = np.empty((len(images), *self.row_shape), dtype=self.dtype)
        owners, rows = self.owners[images], self.rows[images]
        order = np.argsort(owners, kind="stable")
        for here in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1) if len(order) else ():
            copied[here] = self.shards[owners[here[0]]].rows[rows[here]]
        self._release_after(len(images))
        return copied

    def _release_after(self, rows: int) -> None:
        self._rows_read += rows
        if self._rows_read >= ROWS_BETWEEN_RELEASES:
            self._rows_read = 0
            for shard in self.shards:
                shard.release()


@dataclass(frozen=True)
class ShardedRows:
    """Stored rows that are indexed like one array; they are memory-mapped and may exceed the memory.

    Attributes:
        mapped: the files.
        indices: (n,) int64, the image of each row.
    """

    mapped: MappedShards
    indices: NDArray[np.int64]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> ShardedRows:
        """Return the rows of all images, in the order of the runs; nothing is read yet."""
        mapped = MappedShards(runs)
        return cls(mapped, np.arange(len(mapped.rows)))

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and the shape of a row."""
        return len(self.indices), *self.mapped.row_shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number format."""
        return self.mapped.dtype

    def select(self, rows: Any) -> ShardedRows | NDArray[Any]:
        """Return some of the rows: an array if it is small, else rows that stay on disk.

        Args:
            rows: a slice, indices or a boolean mask.
        """
        chosen = replace(self, indices=self.indices[rows])
        return chosen[:] if int(np.prod(chosen.shape)) * self.dtype.itemsize <= COPIED_BYTES else chosen

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Return copies of some rows, (chosen, ...); of one row, its shape alone.

        Args:
            rows: a slice, indices, a boolean mask or one index.
        """
        chosen = self.indices[rows]
        copied = self.mapped.copy_rows(np.atleast_1d(chosen))
        return copied if np.ndim(chosen) else np.asarray(copied[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001 - NumPy's protocol
        """Return all rows as an array in memory."""
        if copy is False:
            raise ValueError("rows in files cannot become an array without copying: leave out copy=False")
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)
