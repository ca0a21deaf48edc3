"""Marks of processes, by which another one finds out whether they still exist."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

# The start of a process is known to about a hundredth of a second, and moves when the clock is set.
START_TOLERANCE_SECONDS = 2.0


def find_host() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def name_machine() -> str:
    """Return the name of this machine since its last start, and of the container, within which ids are unique."""
    marks = []
    with suppress(OSError):  # Linux has both
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8])
        marks.append(Path("/proc/self/ns/pid").readlink().name.strip("pid:[]"))
    return "/".join([find_host(), *marks])


@dataclass(frozen=True)
class ProcessMark:
    """A process, as others can recognise it.

    Attributes:
        machine: its machine, from `name_machine`.
        pid: its id.
        started: when it started, in seconds since 1970.
    """

    machine: str
    pid: int
    started: float

    @classmethod
    def of_this_process(cls) -> ProcessMark:
        """Return the mark of this process."""
        return cls(name_machine(), os.getpid(), psutil.Process().create_time())

    @classmethod
    def read(cls, text: str) -> ProcessMark | None:
        """Return the mark that begins a text; None if there is none.

        >>> ProcessMark.read("laptop 4711 1764115200.25 and more")
        ProcessMark(machine='laptop', pid=4711, started=1764115200.25)
        """
        with suppress(ValueError):
            machine, pid, started, *_ = text.split()
            return cls(machine, int(pid), float(started))
        return None

    def __str__(self) -> str:
        return f"{self.machine} {self.pid} {self.started:.2f}"

    @property
    def is_local(self) -> bool:
        """Whether the process is one of this machine, which knows whether it exists."""
        return self.machine == name_machine()

    def exists(self) -> bool:
        """Return whether a process of this machine exists, and is not one that has ended and got the same id again."""
        try:
            process = psutil.Process(self.pid)
            moved = abs(float(process.create_time()) - self.started)
            return moved < START_TOLERANCE_SECONDS and bool(process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False
