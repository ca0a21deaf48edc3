"""The command `serve`: a registered model, for people and programs, over HTTP."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.commands.answers.caution import read_rate, take_caution
from triptych.commands.options import DebugOption, ErrorRateOption, ModelArgument
from triptych.commands.terminal import EXIT_INTERRUPTED, errors, terminal
from triptych.errors import ConfigError
from triptych.system.environment import apply_environment
from triptych.system.own_memory import garbage_collection_paused

if TYPE_CHECKING:
    from fastapi import FastAPI
    from uvicorn import Server

    from triptych.commands.serving.app import Served

EXAMPLES = """
Serve a registered model: a page to drop photos on, and POST /predict for programs.

It follows the alias: within ten seconds a new champion answers, without a pause. Ctrl-C ends the server.

Examples:

    triptych serve digits

    triptych serve photos-bees-1a2b3c@champion --port 8080 --error-at-most 2%
"""
# With the seconds that loading takes, a new version answers within ten.
SECONDS_BETWEEN_CHECKS = 3.0
SECONDS_TO_ANSWER = 5
# After which a client that takes nothing more of an answer has gone.
SECONDS_TO_TAKE = 60


def serve(
    name: ModelArgument,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen. Anyone who reaches it may use the model.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for one that is free.")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Another name of this machine, or of a proxy. Repeatable."),
    ] = None,
    error_at_most: ErrorRateOption = None,
    debug: DebugOption = False,
) -> None:
    """Serve the model until the command is interrupted."""
    apply_environment(quiet=not debug)
    rate = None if error_at_most is None else read_rate(error_at_most)
    with listen(host, port) as listening:
        with garbage_collection_paused():
            from triptych.commands.serving.guard import check_name
            from triptych.tracking.registry.following import Followed

            names = {host.lower(), socket.gethostname().lower(), *map(check_name, allow_host or ())}
            model = Followed(name, lambda version: load(version, rate), report)
            from triptych.commands.serving.app import build_app

            server = build_server(build_app(model, names), debug=debug)
        ended = threading.Event()
        threading.Thread(target=model.follow, args=(SECONDS_BETWEEN_CHECKS, ended), daemon=True).start()
        served, address = model.current, name_address(listening)
        line = f"{served.name}/{served.version} answers at {address} - Ctrl-C ends the server"
        terminal.print(line, soft_wrap=True, highlight=False)
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt as interrupt:
            report("the server has ended")
            raise typer.Exit(EXIT_INTERRUPTED) from interrupt
        finally:
            ended.set()


def load(version: Any, rate: float | None) -> Served:
    """Load a version, from `find_version`.

    Raises:
        ConfigError: its files are gone, it is no panel, or the rate of errors cannot be promised with it.
        DamagedFileError: its files are not those that were logged.
    """
    from triptych.commands.serving.app import Served
    from triptych.tracking.registry.loading import load_version

    loaded = load_version(version)
    caution = None if rate is None else take_caution(version, loaded, rate)
    return Served(version.name, str(version.version), loaded, caution)


def build_server(app: FastAPI, *, debug: bool = False) -> Server:
    """Return the server of an application; for debugging, it logs every request."""
    import uvicorn

    from triptych.commands.serving.connections import Connection

    # It warns of every form that is malformed, which the answer says.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    if not debug:
        logging.getLogger("uvicorn.error").addFilter(is_error)
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        access_log=debug,
        log_level="info" if debug else "error",
        server_header=False,
        timeout_graceful_shutdown=SECONDS_TO_ANSWER,
    )
    return uvicorn.Server(config)


def is_error(record: logging.LogRecord) -> bool:
    """Return whether a line of the log is worth showing; that the end of the server cuts requests off is not."""
    cut = record.exc_info and record.exc_info[0] is asyncio.CancelledError
    return not cut and not str(record.msg).startswith("Cancel ")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        ConfigError: the port is in use, or the address is not one of this machine.
    """
    if not host:  # which would mean all addresses
        raise ConfigError("--host is empty: name an address, such as 127.0.0.1, or 0.0.0.0 for all of this machine")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", error)).partition(" (")[0]
        remedy = "choose another with --port, or another address with --host"
        raise ConfigError(f"port {port} of {host} cannot be used ({reason}): {remedy}") from error
    # Connections inherit it; asyncio sets it only for sockets that it opens itself. Each answer would wait for 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # not on macOS
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SECONDS_TO_TAKE * 1000)
    return listening


def name_address(listening: socket.socket) -> str:
    """Return the address of a listening socket, as a browser takes it."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def report(line: str) -> None:
    """Print a line about the server."""
    errors.print(f"triptych: {line}")
