"""Dividing rows into slices."""

from __future__ import annotations

from collections.abc import Iterator


def iterate_slices(length: int, size: int) -> Iterator[slice]:
    """Yield consecutive slices that cover `range(length)`, each at most `size` long.

    >>> list(iterate_slices(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
