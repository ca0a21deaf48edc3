"""Free ports, and waiting for what other processes do."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def wait_until(
    ready: Callable[[], Any], what: str, seconds: float = 300.0, process: subprocess.Popen[Any] | None = None
) -> Any:
    """Return the first true result of `ready`; fail after some seconds, or where the process has ended."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert process is None or process.poll() is None, f"{what}: the process has ended"
        assert time.monotonic() < end, f"{what}: nothing after {seconds} seconds"
        time.sleep(0.2)
    return found


def ask(address: str, **headers: str) -> int:
    """Return the HTTP status of an address, 0 where nothing answers."""
    try:
        with urlopen(Request(address, headers=headers), timeout=5) as answer:  # noqa: S310 - an address on this machine
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except OSError:
        return 0
