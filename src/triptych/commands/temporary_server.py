"""Prefect's temporary server, started while Prefect is still being imported.

python -m triptych.commands.temporary_server PORT PARENT
"""

from __future__ import annotations

import atexit
import gc
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.errors import ConfigError
from triptych.system.environment import TEMPORARY_SERVER

if TYPE_CHECKING:
    from prefect.settings import Settings

# As Prefect itself starts a server where none is configured: without pages and schedules.
TEMPORARY = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
# The types of blocks are for its pages; to see that they are registered takes as long as importing Dask.
TEMPORARY |= {"PREFECT_API_BLOCKS_REGISTER_ON_START": "0", "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "0"}
# Its log goes to a file, and ends with an error if the server could not start.
TEMPORARY |= {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR"}
ERROR_LINE = re.compile(r"[\w.]+(Error|Exception): ")
PASSWORDS = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING")
SECONDS_BETWEEN_CALLS = 0.1
SECONDS_BETWEEN_CHECKS = 1.0


class TemporaryServer:
    """The server that Prefect starts on its first call if none is configured, started early.

    Prefect alone would import the whole server into this process before it starts a process for it. Here that process
    starts first and comes up on another core in the meantime; then Prefect uses it like any server with an address.
    """

    def __init__(self) -> None:
        """Start the process; it ends with this one, or at once if another server is configured."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port: int = listening.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/api"
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process writes
        self.stopped = False
        # Pages that the user has open, and other users of the machine, reach the port too.
        self.password = dict.fromkeys(PASSWORDS, f"triptych:{secrets.token_urlsafe()}")
        self.environment = os.environ | TEMPORARY | self.password  # without its own address, also when started again
        self.process = self._start()
        atexit.register(self.stop)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "triptych.commands.temporary_server", str(self.port), str(os.getpid())]
        # In its own process group: Ctrl-C is for this process, which then stops the server.
        return subprocess.Popen(command, env=self.environment, process_group=0, stderr=self.log)  # noqa: S603 - this module

    def connect_prefect(self) -> None:
        """Wait until the server answers, and make Prefect use it.

        Raises:
            ConfigError: the server could not start, in general because of its database.
        """
        from prefect.settings import get_current_settings

        settings = get_current_settings()
        if not wants_temporary_server(settings):
            return
        from prefect.context import refresh_global_settings_context

        if self._answers(settings.server.ephemeral.startup_timeout_seconds):
            os.environ |= self.password | {"PREFECT_API_URL": self.address, TEMPORARY_SERVER: self.address}
            refresh_global_settings_context()
            threading.Thread(target=self._keep_running, daemon=True).start()
            return
        raise ConfigError(
            f"Prefect's temporary server cannot start ({self._find_reason()}): move its database in {settings.home} "
            "away, or set PREFECT_HOME to a new folder"
        )

    def _find_reason(self) -> str:
        """Return the last error in the server's log."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").splitlines()
        return next((line for line in reversed(lines) if ERROR_LINE.match(line)), "see the server's log")

    def _keep_running(self) -> None:
        """Start the process again whenever it ends while a flow needs it; the system may kill it to free memory."""
        while True:
            self.process.wait()
            if self.stopped:
                return
            self.process = self._start()
            time.sleep(SECONDS_BETWEEN_CHECKS)

    def stop(self) -> None:
        """Stop the server if it still runs."""
        self.stopped = True
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def _answers(self, seconds: float) -> bool:
        """Return whether the server answers in time; stop it if it does not."""
        import httpx

        deadline = time.monotonic() + seconds
        with httpx.Client(trust_env=False) as client:  # one for all calls: each client reads all certificates
            while self.process.poll() is None and time.monotonic() < deadline:
                with suppress(httpx.TransportError):
                    if client.get(f"{self.address}/health").is_success:
                        return True
                time.sleep(SECONDS_BETWEEN_CALLS)
        self.stop()
        return False


def wants_temporary_server(settings: Settings) -> bool:
    """Return whether Prefect would start a temporary server."""
    return not settings.api.url and settings.server.ephemeral.enabled


def main() -> None:
    """Serve until the parent process ends; this is what the started process runs."""
    if os.environ.get("PREFECT_API_URL"):
        return  # another server is configured, without the second that Prefect's settings take to import
    port, parent = map(int, sys.argv[1:])
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()
    gc.disable()  # until it serves: what it imports is never garbage
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if wants_temporary_server(settings):
        _serve(port, settings.home)


def _serve(port: int, home: Path) -> None:
    """Serve Prefect's API with the database in a folder."""
    import uvicorn
    from filelock import FileLock

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            # It creates or updates the database, which two servers must not do at the same time.
            with FileLock(home / ".starting.lock"):
                await super().startup(sockets)
            gc.freeze()
            gc.enable()

    home.mkdir(parents=True, exist_ok=True)
    app = "prefect.server.api.server:create_app"
    Server(uvicorn.Config(app, factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on")).run()


def _exit_with(parent: int) -> None:
    """End this process when its parent has ended, even if that was killed."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_CHECKS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
