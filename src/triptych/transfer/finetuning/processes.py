"""Running a function in several processes of this machine, which start, report and end together.

PyTorch starts them (`torch.multiprocessing`, start method spawn). A pipe connects each of them to its parent: it
carries messages and errors, and the process ends when the parent closes the pipe or dies.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from torch.multiprocessing.spawn import start_processes

from triptych.errors import ProcessError, TriptychError

Send = Callable[[Any], None]
Work = Callable[[int, Send], None]

_starting = threading.Lock()


def run_in_processes(work: Work, size: int, folder: Path, on_message: Callable[[Any], None]) -> None:
    """Call `work` in several new processes, and wait until it has returned in all of them.

    An error, an interrupt or the death of this process ends all of them. Ctrl-C reaches this process alone.

    Args:
        work: called with the number of its process, from 0, and a function that sends a message (anything but None)
            to this process; must be picklable.
        size: number of processes.
        folder: what they print goes into files there, one per process.
        on_message: called with each message; an error in it ends the processes.

    Raises:
        TriptychError: `work` raised it in one of the processes.
        ProcessError: a process failed in another way, or ended before its work was done.
    """
    with ExitStack() as stack:
        pipes = [multiprocessing.Pipe() for _ in range(size)]
        ours, theirs = zip(*pipes, strict=True)
        for connection in (*ours, *theirs):
            stack.enter_context(connection)
        with _children_allowed(), _interrupts_blocked():
            context = start_processes(_run, (work, theirs, folder), size, join=False, daemon=True)
        try:
            for connection in theirs:
                connection.close()
            _follow(context.processes, ours, folder, on_message)
        finally:
            for process in context.processes:
                process.kill()
            for process in context.processes:
                process.join()


@contextmanager
def _children_allowed() -> Iterator[None]:
    """Let this process start others even if it is a daemon, such as a worker of Dask.

    Python forbids it because a daemon that is killed would leave its children behind. These children notice its death.
    """
    current = multiprocessing.current_process()
    with _starting:
        daemon = current.daemon
        current.daemon = False
        try:
            yield
        finally:
            current.daemon = daemon


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, and so, as the mask is inherited, in the processes that it starts.

    They could ignore the signal themselves, but only once they have imported everything.
    """
    resource_tracker.ensure_running()  # `multiprocessing` would start it now, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow(
    processes: Sequence[BaseProcess], connections: Sequence[Connection], folder: Path, on_message: Callable[[Any], None]
) -> None:
    """Pass messages on until every process has done its work; raise as soon as one of them fails."""
    working = set(range(len(processes)))
    while working:
        sentinels = {processes[number].sentinel: number for number in working}
        ready = wait([*sentinels, *(connections[number] for number in working)])
        # Listed before the messages are read: whatever a process sent, it sent before it ended.
        ended = {number for sentinel, number in sentinels.items() if sentinel in ready}
        for number in sorted(working):
            for message in _receive(connections[number]):
                if isinstance(message, TriptychError):
                    raise message
                if message is None:
                    working.remove(number)
                else:
                    on_message(message)
        if failed := sorted(ended & working):
            raise ProcessError(_explain(processes, failed, folder))


def _receive(connection: Connection) -> Iterator[Any]:
    """Yield the messages that have arrived."""
    with suppress(EOFError, OSError):  # the process has ended, perhaps in the middle of a message
        while connection.poll():
            yield connection.recv()


def _explain(processes: Sequence[BaseProcess], failed: Sequence[int], folder: Path) -> str:
    """Return which process failed and how; if a signal killed one, the others failed because of that."""
    codes: dict[int, int] = {}
    for number in failed:
        processes[number].join()
        codes[number] = processes[number].exitcode or 0
    number = min(failed, key=lambda number: codes[number] >= 0)
    code = codes[number]
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    output = _output_file(folder, number)
    printed = output.read_text(encoding="utf-8", errors="replace").strip() if output.exists() else ""
    reason = f" ({printed.splitlines()[-1][:200]})" if printed else ""
    return (
        f"process {number + 1} of {len(processes)} {how}{reason}: "
        "try transfer.processes=1, which takes less memory and shows the whole error"
    )


def _output_file(folder: Path, number: int) -> Path:
    return folder / f"output-{number}.txt"


def _run(number: int, work: Work, connections: Sequence[Connection], folder: Path) -> None:
    """Do the work in a new process, send how it ended, and end."""
    # In a session of its own: signals to the parent's process group, such as Prefect's, don't reach it.
    os.setsid()
    output = os.open(_output_file(folder, number), os.O_WRONLY | os.O_CREAT)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    for other in {*range(len(connections))} - {number}:
        connections[other].close()
    code = 1
    try:
        _end_with_parent(connections[number])
        connections[number].send(_attempt(work, number, connections[number].send))
        code = 0
    except BaseException:  # noqa: BLE001 - the parent quotes the last line
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    # Waiting for threads that libraries have left running could take forever if another process is gone.
    os._exit(code)


def _attempt(work: Work, number: int, send: Send) -> TriptychError | None:
    """Do the work, and return the error of this project that it raised, or None."""
    try:
        work(number, send)
    except TriptychError as error:
        return error
    return None


def _end_with_parent(connection: Connection) -> None:
    """End this process as soon as its parent has closed its end of the pipe, or has died."""

    def watch() -> None:
        with suppress(EOFError, OSError):
            connection.recv()  # the parent never sends anything
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
