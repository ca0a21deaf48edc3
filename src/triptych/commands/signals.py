"""The signals that end a command: whichever comes, and however often, the runs that were open are closed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from triptych.commands.terminal import EXIT_INTERRUPTED, errors

SECONDS_TO_CLOSE_RUNS = 4.0


@contextmanager
def runs_closed_by_signals() -> Iterator[None]:
    """Close open runs when a signal ends the block.

    Prefect does so for SIGTERM, and for the interrupt of a first Ctrl-C. A terminal that is closed counts as SIGTERM;
    a program that was started to outlive its terminal goes on. A second Ctrl-C does not wait for what is still at work.
    """
    first = True

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if first:
            first = False
            signal.default_int_handler(number, frame)
        else:
            threading.Thread(target=end_at_once, daemon=True).start()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    if before[signal.SIGINT] == signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    if before[signal.SIGHUP] == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))
    try:
        yield
    finally:
        # After an interrupt the process is ending, and a second one may follow until it has ended.
        if first:
            for number, handler in before.items():
                signal.signal(number, handler)


def end_at_once() -> None:
    """Close the runs that this process has open, and end it, whatever its threads are doing."""
    threading.Timer(SECONDS_TO_CLOSE_RUNS, os._exit, (EXIT_INTERRUPTED,)).start()
    with suppress(Exception):
        from triptych.tracking.runs import close_held_runs

        close_held_runs("KILLED")
    errors.print("triptych: interrupted twice and ended at once; run the same command again to continue")
    os._exit(EXIT_INTERRUPTED)
