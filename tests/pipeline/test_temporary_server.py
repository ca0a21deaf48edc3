"""Prefect uses the server that was started early as its own, and the server ends with the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from helpers.waiting import wait_until

ADOPTED = """
import sys
import httpx
from triptych.system.environment import apply_environment
apply_environment(quiet=True)
from triptych.commands.temporary_server import TemporaryServer
server = TemporaryServer()
server.connect_prefect()
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    assert client.api_healthcheck() is None
    assert str(server.port) in str(client.api_url)
    assert client.read_flows() == []
    assert httpx.post(f"{client.api_url}flows/filter", json={}).status_code == 401
assert "prefect.server.api.server" not in sys.modules
print(server.process.pid, flush=True)
sys.stdin.read()
"""

NOT_WANTED = """
from triptych.commands.temporary_server import TemporaryServer
server = TemporaryServer()
server.connect_prefect()
print(server.process.wait(60))
"""


def lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


@pytest.mark.endurance
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_the_early_server_is_prefects_and_ends_with_the_process_also_where_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ADOPTED]
    with ExitStack() as stack:
        started = {}
        for ending in (signal.SIGTERM, signal.SIGKILL):
            # The proxy of an office, which does not reach this machine.
            own = {"PREFECT_HOME": str(tmp_path / ending.name), "http_proxy": "http://127.0.0.1:9"}
            environment = os.environ | own
            started[ending] = stack.enter_context(
                subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
        for ending, process in started.items():
            assert process.stdout is not None
            server = int(process.stdout.readline())
            assert lives(server)
            assert os.getpgid(server) == server, "an interrupt from the keyboard would reach it"
            process.send_signal(ending)
            wait_until(lambda: not lives(server), f"end of the server {server}")  # noqa: B023 - at once


def test_where_a_server_is_configured_none_is_started() -> None:
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    command = [sys.executable, "-c", NOT_WANTED]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    assert done.stdout == "0\n"
