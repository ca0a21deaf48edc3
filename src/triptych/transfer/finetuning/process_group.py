"""Processes that work together: started side by side, listened to, and ended together. Knows no PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any

from triptych.errors import ProcessError

Message = dict[str, Any]

POLL_SECONDS = 0.5
# From a polite request to the end of a process.
SECONDS_TO_END = 5.0


def run_processes(
    module: str,
    arguments: Sequence[str],
    size: int,
    environment: Mapping[str, str],
    folder: Path,
    listen: Callable[[Message], None],
) -> None:
    """Run a module in several processes, and wait until all have ended well; else end those that are left.

    Each finds its number and how many there are in `RANK` and `WORLD_SIZE`. Its standard input is closed when it
    is to end, also because this process has died.

    Args:
        module: what `python -m` is to run.
        arguments: of each process.
        size: how many processes.
        environment: is laid over this process's own.
        folder: takes what they write to standard error.
        listen: called with each line of JSON that one of them writes; what it raises ends them all.

    Raises:
        ProcessError: a process ended without success and without saying why in a message.
    """
    reading, writing = os.pipe()
    heard: Queue[str | None] = Queue()
    threading.Thread(target=_collect, args=(reading, heard), daemon=True).start()
    processes: list[subprocess.Popen[bytes]] = []
    try:
        try:
            for number in range(size):
                variables = {**os.environ, **environment, "RANK": str(number), "WORLD_SIZE": str(size)}
                with _error_file(folder, number).open("wb") as errors:
                    processes.append(_start([sys.executable, "-m", module, *arguments], variables, writing, errors))
        finally:
            os.close(writing)
        _listen_until_end(processes, heard, listen, folder)
    finally:
        _end(processes)


def _start(
    command: Sequence[str], variables: Mapping[str, str], output: int, errors: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that Ctrl-C reaches this one alone, which ends the others."""
    return subprocess.Popen(  # noqa: S603 - this interpreter, running a module of this package
        command, env=variables, stdin=subprocess.PIPE, stdout=output, stderr=errors, start_new_session=True
    )


def _listen_until_end(
    processes: Sequence[subprocess.Popen[bytes]],
    heard: Queue[str | None],
    listen: Callable[[Message], None],
    folder: Path,
) -> None:
    """Hand on messages until all have ended; raise as soon as one has failed, as others may wait for it for ever."""
    line: str | None = ""
    while line is not None:
        failed = any(process.poll() for process in processes)
        try:
            line = heard.get(timeout=POLL_SECONDS)
        except Empty:
            if failed:
                break
            continue
        if line is not None:
            listen(json.loads(line))
    codes = [process.wait() if line is None else process.poll() for process in processes]
    if any(codes):
        raise ProcessError(_explain(codes, folder))


def _collect(reading: int, heard: Queue[str | None]) -> None:
    """Put the lines of all processes into a queue, and None when the last of them has ended."""
    with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            heard.put(line)
    heard.put(None)


def _explain(codes: Sequence[int | None], folder: Path) -> str:
    """Return which process ended first, as far as can be told: one that a signal ended, before those that noticed."""
    number = min((number for number, code in enumerate(codes) if code), key=lambda number: (codes[number] or 0) > 0)
    code = codes[number] or 0
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    told = _error_file(folder, number).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = f" ({told[-1][:200]})" if told else ""
    return f"process {number + 1} of {len(codes)} {how}{reason}: try transfer.processes=1, which shows the whole error"


def _error_file(folder: Path, number: int) -> Path:
    return folder / f"stderr-{number}"


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what still runs: by closing its input, then by force."""
    for process in processes:
        if process.stdin:
            process.stdin.close()
    for process in processes:
        try:
            process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
