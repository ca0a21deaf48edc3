from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from triptych.system.processes import ProcessMark


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this machine."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def test_a_mark_is_read_as_it_was_written() -> None:
    mark = ProcessMark("laptop/1a2b", 4711, 1.25)
    assert ProcessMark.read(str(mark)) == mark
    assert not mark.is_local
    assert ProcessMark.of_this_process().is_local
    assert ProcessMark.read("") is ProcessMark.read("laptop 1") is ProcessMark.read("laptop one 2") is None


def test_a_process_exists_until_it_ends(other: subprocess.Popen[bytes]) -> None:
    mark = replace(ProcessMark.of_this_process(), pid=other.pid, started=psutil.Process(other.pid).create_time())
    assert mark.exists()
    assert not replace(mark, started=mark.started - 10).exists(), "the id belongs to another process by now"
    other.kill()
    deadline = time.monotonic() + 10
    while psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not mark.exists(), "it has ended, although its parent has not noticed"
    other.communicate()
    assert not mark.exists()
