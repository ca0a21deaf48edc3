"""Releasing the memory that reading a memory-mapped array takes."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def release_pages(array: NDArray[Any]) -> None:
    """Release the pages of a memory-mapped array that have been read; do nothing for other arrays.

    The system keeps them in its cache while it has enough memory, and otherwise reads them again on the next access.

    Args:
        array: any array, or a view of one.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        # NumPy has no public name for the map of a `numpy.memmap`; views of one have it too.
        mapped = getattr(owner, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
            return
        owner = owner.base
