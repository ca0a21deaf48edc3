"""Threads of the matrix products: a process-wide setting that panels in neighbouring threads share."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

_lock = threading.Lock()
_wanted: list[int] = []
_limits: list[threadpool_limits] = []


def count_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_threads() -> int:
    """Return the number of threads for one piece of work that may have all cores.

    Fewer where the environment says so: Dask starts its workers with `OMP_NUM_THREADS` set to 1, as each of them
    is one of several on its machine.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(told), count_cores()) if told.isdecimal() and int(told) else count_cores()


def release_torch_threads() -> None:
    """Let PyTorch use every core in this thread again, where it is loaded at all.

    The setting belongs to a thread, and threads of a pool keep what the last piece of work has set.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count_cores())


@contextmanager
def limit_blas_threads(threads: int) -> Iterator[None]:
    """Hold NumPy's BLAS to a number of threads while the block runs.

    The setting belongs to the process. Where several panels train side by side, the smallest number holds
    until each of them is done, and only the last to leave restores what was before.
    """
    _enter(threads)
    try:
        yield
    finally:
        _leave(threads)


def _enter(threads: int) -> None:
    with _lock:
        _wanted.append(threads)
        _limits.append(threadpool_limits(limits=min(_wanted), user_api="blas"))


def _leave(threads: int) -> None:
    with _lock:
        _wanted.remove(threads)
        if not _wanted:
            for limit in reversed(_limits):
                limit.restore_original_limits()
            _limits.clear()
