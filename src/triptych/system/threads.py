"""The processor, counting the cores and threads for a piece of work, and limiting the threads of matrix products."""

from __future__ import annotations

import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from threadpoolctl import threadpool_info, threadpool_limits


def count_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_busy() -> bool:
    """Return whether programs have kept half of the cores busy in the last minute, where the system says so."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > count_cores() / 2


def describe_processor() -> dict[str, str]:
    """Return what the last bits of a result may depend on: Python, the system, the cores and NumPy's BLAS kernels."""
    kernels = {
        f"{library['internal_api']} {library['version']} for {library.get('architecture', 'any processor')}"
        for library in threadpool_info()
        if library["user_api"] == "blas" and "numpy" in library["filepath"]
    }
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(count_cores()),
        "blas": ", ".join(sorted(kernels)),
    }


def count_threads() -> int:
    """Return the number of threads for a piece of work that may use every core.

    The environment may ask for fewer: Dask sets `OMP_NUM_THREADS` to 1 for its workers, as each of them is one of
    several on its machine.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(wanted), count_cores()) if wanted.isdecimal() and int(wanted) else count_cores()


def release_torch_threads() -> None:
    """Let PyTorch use every core in this thread again, if it is loaded.

    The setting belongs to a thread, and a thread of a pool keeps what the work before has set.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count_cores())


class _BlasLimit:
    """A limit on the threads of NumPy's BLAS that blocks in several threads share."""

    def __init__(self) -> None:
        """Start without a limit."""
        self._lock = threading.Lock()
        self._wanted: list[int] = []
        self._limits: list[threadpool_limits] = []

    @contextmanager
    def hold(self, threads: int) -> Iterator[None]:
        """Limit the threads while the block runs, those of SciPy's BLAS too."""
        import scipy.linalg  # noqa: F401 - a library that is loaded during the block would have no limit

        with self._lock:
            self._wanted.append(threads)
            self._limits.append(threadpool_limits(limits=min(self._wanted), user_api="blas"))
        try:
            yield
        finally:
            with self._lock:
                self._wanted.remove(threads)
                if not self._wanted:
                    self._restore()

    def _restore(self) -> None:
        for limit in reversed(self._limits):
            limit.restore_original_limits()
        self._limits.clear()


_blas_limit = _BlasLimit()


def limit_blas_threads(threads: int) -> AbstractContextManager[None]:
    """Limit the threads of NumPy's BLAS while the block runs.

    The setting belongs to the process. While panels train side by side, the smallest of their limits applies to all of
    them; the last one to end restores what was set before.
    """
    return _blas_limit.hold(threads)
