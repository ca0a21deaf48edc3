"""Where the tasks of a flow run: on threads of this process, or on the workers of a Dask cluster."""

from __future__ import annotations

import re
import socket
from importlib.util import find_spec

from triptych.errors import ConfigError

THREADS, DASK = "threads", "dask"
CONNECTION_SECONDS = 3.0
LAST_PORT = 65_535
# The address of a Dask scheduler.
ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://[^/\s]+:[0-9]{1,9}/?")


def check_runner(runner: str) -> None:
    """Check the value of `--runner`.

    Raises:
        ConfigError: there is no such runner, its package is not installed, or its scheduler does not answer.

    >>> check_runner("dask:here")
    Traceback (most recent call last):
    triptych.errors.ConfigError: --runner 'dask:here' is not allowed: use threads, dask or dask:tcp://HOST:PORT
    """
    if runner == THREADS:
        return
    name, colon, address = runner.partition(":")
    if name != DASK or (colon and not ADDRESS.fullmatch(address)):
        raise ConfigError(f"--runner {runner!r} is not allowed: use threads, dask or dask:tcp://HOST:PORT")
    if address:
        _check_scheduler(runner, address)
    if find_spec("prefect_dask") is None:
        raise ConfigError(f"--runner {runner!r} needs prefect-dask: install it with `pip install 'triptych[dask]'`")


def _check_scheduler(runner: str, address: str) -> None:
    """Check that a scheduler listens at an address; Dask itself would try for half a minute."""
    host, _, port = address.rstrip("/").rpartition("://")[2].rpartition(":")
    if not 1 <= int(port) <= LAST_PORT:
        raise ConfigError(f"--runner {runner!r} has no port: {port} is not between 1 and {LAST_PORT}")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECTION_SECONDS).close()
    except OSError as error:
        raise ConfigError(
            f"--runner {runner!r}: no Dask scheduler answers there ({error}); start one with `dask scheduler`"
        ) from error


def find_address(runner: str) -> str | None:
    """Return the scheduler's address in a runner; None means a new cluster on this machine.

    >>> find_address("dask"), find_address("dask:tcp://127.0.0.1:8786")
    (None, 'tcp://127.0.0.1:8786')
    """
    return runner.partition(":")[2] or None
