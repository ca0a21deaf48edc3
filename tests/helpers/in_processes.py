"""What the processes of a training do in its tests. They import this module, which spares them pytest."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.waiting import wait_until
from triptych.errors import TriptychError
from triptych.system.files import write_atomically

if TYPE_CHECKING:
    from triptych.transfer.finetuning.processes import Send


def kill_the_second(number: int, _: Send) -> None:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def fail_first_kill_second(file: Path, number: int, send: Send) -> None:
    if number == 1:
        write_atomically(file, str(os.getpid()).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    send(os.getpid())
    wait_until(file.exists, "the second process")
    raise RuntimeError("connection closed by peer")


def raise_error(error: TriptychError, number: int, _: Send) -> None:
    if number == 1:
        raise error
    time.sleep(60)


def send_pid_and_wait(_: int, send: Send) -> None:
    send(os.getpid())
    time.sleep(60)


def send_pid_and_report_when(file: Path, _: int, send: Send) -> None:
    send(os.getpid())
    wait_until(file.exists, "the file")
    send("still running")


def print_and_count(number: int, send: Send) -> None:
    print("printed")
    print("an error", file=sys.stderr)
    for count in range(3):
        send((number, count))
