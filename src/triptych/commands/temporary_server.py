"""Prefect's temporary server, begun while Prefect is imported.

python -m triptych.commands.temporary_server PORT PARENT
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.settings import Settings

# What Prefect itself tells the server that it starts where none is configured: no pages, no schedules.
TEMPORARY = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
SECONDS_BETWEEN_CALLS = 0.1
SECONDS_BETWEEN_LOOKS = 1.0


class TemporaryServer:
    """The server that Prefect starts at the first call where none is configured, started sooner.

    By itself Prefect imports the whole server into this process before it starts another one for it. Here that one
    starts first and comes up on another core in the meantime; then it is handed over to Prefect, which uses and stops
    it as its own. Whatever goes wrong on the way, Prefect starts its own as if nothing had been.
    """

    def __init__(self) -> None:
        """Start it; it ends with this process, and at once where another server is configured."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port: int = listening.getsockname()[1]
        command = [sys.executable, "-m", "triptych.commands.temporary_server", str(self.port), str(os.getpid())]
        # In a group of its own: an interrupt from the keyboard is for this process, which then tells the server.
        self.process = subprocess.Popen(command, env=os.environ | TEMPORARY, process_group=0)  # noqa: S603 - our own
        atexit.register(self.stop)

    def hand_over(self) -> None:
        """Wait until it answers, and let Prefect use and stop it as the one it started."""
        from prefect.settings import get_current_settings

        settings = get_current_settings()
        if not wants_temporary_server(settings):
            return
        from prefect.server.api.server import SubprocessASGIServer

        server = SubprocessASGIServer()
        if not server.running and self._answers(settings.server.ephemeral.startup_timeout_seconds):
            server.port, server.server_process, server.running = self.port, self.process, True
            atexit.register(server.stop)

    def stop(self) -> None:
        """End it, where it still runs."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def _answers(self, seconds: float) -> bool:
        """Return whether it answers within some seconds."""
        import httpx

        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{self.port}/api/health", trust_env=False).is_success:
                    return True
            time.sleep(SECONDS_BETWEEN_CALLS)
        self.stop()
        return False


def wants_temporary_server(settings: Settings) -> bool:
    """Return whether Prefect would start a server of its own."""
    return not settings.api.url and settings.server.ephemeral.enabled


def main() -> None:
    """Serve, in the process that is started for it, as long as there is the one that started it."""
    port, parent = map(int, sys.argv[1:])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from prefect.settings import get_current_settings

    if wants_temporary_server(get_current_settings()):
        import uvicorn

        uvicorn.run(
            "prefect.server.api.server:create_app",
            factory=True,
            host="127.0.0.1",
            port=port,
            log_level="error",
            lifespan="on",
        )


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, however it ended."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
