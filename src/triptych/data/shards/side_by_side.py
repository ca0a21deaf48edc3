"""Reading the rows of several arrays side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.shards.rows import COPIED_BYTES, ShardedRows


@dataclass(frozen=True)
class SideBySideRows:
    """Stored rows of the same images, (n, d1), (n, d2), ..., that are indexed like one array (n, d1 + d2 + ...).

    Attributes:
        parts: the rows of each, of the same number format.
    """

    parts: tuple[ShardedRows, ...]

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and their length."""
        return len(self), sum(part.shape[1] for part in self.parts)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number format."""
        return self.parts[0].dtype

    def select(self, rows: Any) -> SideBySideRows | NDArray[Any]:
        """Return some of the rows: an array if it is small, else rows that stay on disk.

        Args:
            rows: a slice, indices or a boolean mask.
        """
        chosen = SideBySideRows(tuple(ShardedRows(part.mapped, part.indices[rows]) for part in self.parts))
        return chosen[:] if int(np.prod(chosen.shape)) * self.dtype.itemsize <= COPIED_BYTES else chosen

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Return copies of some rows, (chosen, d1 + d2 + ...); of one row, its numbers alone.

        Args:
            rows: a slice, indices, a boolean mask or one index.
        """
        return np.concatenate([part[rows] for part in self.parts], axis=-1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001 - NumPy's protocol
        """Return all rows as an array in memory."""
        if copy is False:
            raise ValueError("rows in files cannot become an array without copying: leave out copy=False")
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)
