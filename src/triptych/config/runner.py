"""Where the tasks of a flow run: on threads of this process, or on the workers of a Dask cluster."""

from __future__ import annotations

import re
import socket
from importlib.util import find_spec
from ssl import SSLContext

from triptych.errors import ConfigError

THREADS, DASK = "threads", "dask"
CONNECTION_SECONDS = 3.0
LAST_PORT = 65_535
# Dask's variables for the certificates of a client.
CERTIFICATES = tuple(f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY"))
ENCRYPTED = ("tls://", "wss://")
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
    if find_spec("prefect_dask") is None:
        raise ConfigError(f"--runner {runner!r} needs prefect-dask: install it with `pip install 'triptych[dask]'`")
    if address:
        _check_scheduler(runner, address)


def _check_scheduler(runner: str, address: str) -> None:
    """Check that a scheduler listens at an address; Dask itself would try for half a minute."""
    host, _, port = address.rstrip("/").rpartition("://")[2].rpartition(":")
    if not 1 <= int(port) <= LAST_PORT:
        raise ConfigError(f"--runner {runner!r} has no port: {port} is not between 1 and {LAST_PORT}")
    context = _load_certificates(runner) if address.startswith(ENCRYPTED) else None
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECTION_SECONDS) as connection:
            if context:
                context.wrap_socket(connection).close()
    except OSError as error:
        raise ConfigError(
            f"--runner {runner!r}: no Dask scheduler answers there ({error}); start one with `dask scheduler`"
        ) from error


def _load_certificates(runner: str) -> SSLContext:
    """Return the certificates that Dask's configuration names for a client.

    Raises:
        ConfigError: it names none, or a file cannot be read.
    """
    from distributed.security import Security

    remedy = f"set {', '.join(CERTIFICATES)}, or the same in Dask's configuration"
    try:
        context: SSLContext | None = Security().get_connection_args("client")["ssl_context"]
    except OSError as error:
        raise ConfigError(f"--runner {runner!r}: the certificates cannot be read ({error}): {remedy}") from error
    if context is None:
        raise ConfigError(f"--runner {runner!r} needs certificates: {remedy}")
    return context


def find_address(runner: str) -> str | None:
    """Return the scheduler's address in a runner; None means a new cluster on this machine.

    >>> find_address("dask"), find_address("dask:tcp://127.0.0.1:8786")
    (None, 'tcp://127.0.0.1:8786')
    """
    return runner.partition(":")[2] or None
