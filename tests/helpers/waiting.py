"""Free ports, and waiting for what other processes do."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class Process(Protocol):
    """A process that may be asked whether it has ended."""

    def poll(self) -> int | None:
        """Return None while it runs."""


def wait_until(
    ready: Callable[[], Any],
    what: str,
    seconds: float = 300.0,
    process: Process | None = None,
    log: Path | None = None,
) -> Any:
    """Return the first true result of `ready`; fail after some seconds, or where the process has ended.

    Args:
        ready: asked again and again.
        what: it stands for, for the error.
        seconds: generous, as the machine may be slow.
        process: without which it will never be true.
        log: file with the output of the process, for the error.
    """
    end = time.monotonic() + seconds
    while True:
        ended = process is not None and process.poll() is not None
        if found := ready():
            return found
        if ended or time.monotonic() > end:
            why = "the process has ended" if ended else f"nothing after {seconds:.0f} seconds"
            raise AssertionError(f"{what}: {why}\n{log.read_text(encoding='utf-8', errors='replace') if log else ''}")
        time.sleep(0.1)


def ask(address: str, **headers: str) -> int:
    """Return the HTTP status of an address, 0 where nothing answers."""
    try:
        with urlopen(Request(address, headers=headers), timeout=5) as answer:  # noqa: S310 - an address on this machine
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except OSError:
        return 0
