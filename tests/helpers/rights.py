"""Root's right to read and write whatever it likes, put aside: tests of permissions would pass over them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# The layout that `capset` expects, by the header linux/capability.h: effective, permitted and inheritable, twice.
VERSION, WORDS = 0x20080522, 6
# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
OVERRIDE = 1 << 1 | 1 << 2


@contextmanager
def permissions_obeyed() -> Iterator[None]:
    """Make this thread, and those that it starts, obey permissions while the block runs, also as root."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "capset"):
        pytest.skip("root may read every file, and this system has no way to put that aside")
    header, held = (ctypes.c_uint32 * 2)(VERSION, 0), (ctypes.c_uint32 * WORDS)()
    libc.capget(header, held)
    fewer = (ctypes.c_uint32 * WORDS)(held[0] & ~OVERRIDE, *held[1:])
    libc.capset(header, fewer)
    try:
        yield
    finally:
        libc.capset(header, held)
