"""Measuring how much memory a piece of work takes, where nothing else in the process could take it.

The system counts memory for a whole process, not for its threads: of two pieces of work at the same time nobody can say
which of them took how much. Python's garbage collector scans all of it, so it is paused during imports.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread

MEBIBYTE = 2**20
SECONDS_BETWEEN_SAMPLES = 0.02
STATUS = Path("/proc/self/status")
# Python's 700 are allocated within milliseconds, and nearly all objects are freed without the collector.
OBJECTS_BETWEEN_COLLECTIONS = 10_000


class Growth:
    """How far the memory of this process grows while a block runs.

    Attributes:
        mebibytes: the highest sample above the first, MiB; None while the block runs, if other work ran in the process
            at some time, and on systems other than Linux.
        most: the highest sample so far, bytes.
        shared: whether other work has run in the process meanwhile.
    """

    def __init__(self) -> None:
        """Start without a measurement."""
        self.mebibytes: float | None = None
        self.most = 0
        self.shared = False

    def sample_until(self, end: Event) -> None:
        """Take samples until an event."""
        while not end.wait(SECONDS_BETWEEN_SAMPLES):
            self.most = max(self.most, read_own_memory())


class _Work:
    """The pieces of work that run in this process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: list[Growth] = []

    @contextmanager
    def begin(self, growth: Growth) -> Iterator[None]:
        """Note that a piece of work runs while the block does, and which others it shares the process with."""
        with self._lock:
            self._running.append(growth)
            for one in self._running if len(self._running) > 1 else ():
                one.shared = True
        try:
            yield
        finally:
            with self._lock:
                self._running.remove(growth)


_work = _Work()


@contextmanager
def taking_memory() -> Iterator[None]:
    """Let no other work be measured while the block, which takes memory, runs."""
    with _work.begin(Growth()):
        yield


@contextmanager
def measuring_memory() -> Iterator[Growth]:
    """Measure how far the memory of this process grows while the block runs, unless other work runs meanwhile.

    Memory that is mapped from files is not counted, as the system may take it back; nor is that of other processes.
    """
    growth = Growth()
    with _work.begin(growth):
        if growth.shared or sys.platform != "linux":
            yield growth
            return
        _return_free_memory()
        end, first = Event(), read_own_memory()
        growth.most = first
        sampler = Thread(target=growth.sample_until, args=[end], daemon=True)
        sampler.start()
        try:
            yield growth
        finally:
            end.set()
            sampler.join()
    if not growth.shared:
        growth.mebibytes = (max(growth.most, read_own_memory()) - first) / MEBIBYTE


def _return_free_memory() -> None:
    """Return to the system what earlier work has freed, which the next would use without any growth."""
    with suppress(OSError, AttributeError):  # another library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def read_own_memory() -> int:
    """Return the resident memory of this process that is not mapped from files, in bytes (Linux)."""
    status = STATUS.read_text(encoding="ascii")
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Pause the garbage collector while the block imports modules, and scan these never and others rarely afterwards.

    Scanning them again and again would take a tenth of the time that the imports take.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
        gc.enable()
