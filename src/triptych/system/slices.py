"""Long work in slices."""

from __future__ import annotations

from collections.abc import Iterator


def iterate_slices(length: int, size: int) -> Iterator[slice]:
    """Yield consecutive slices that cover `range(length)`, each at most `size` long."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
