"""Measuring the peak memory of this process."""

from __future__ import annotations

import resource
import sys

MEBIBYTE = 2**20


def peak_memory_mebibytes() -> float:
    """Return the largest resident memory of this process so far, MiB."""
    # getrusage(2) counts bytes on macOS, KiB elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEBIBYTE
