"""Memory-mapped arrays, and the memory that reading them takes."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def release_pages(array: NDArray[Any]) -> None:
    """Give the pages of a memory-mapped array that were read back to the system; of others, none.

    The system keeps them as a cache while it has memory, and reads them again when they are asked for.

    Args:
        array: any array, or a view of one.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        # NumPy has no public name for the map of a `numpy.memmap`; a view of one knows it too.
        mapped = getattr(owner, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
            return
        owner = owner.base
