"""A page in Debian's Chromium, driven through its debugging port."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import axe_core_python
from websockets.sync.client import ClientConnection, connect

from helpers.waiting import wait_until

CHROMIUM = shutil.which("chromium")
SECONDS = 100.0
AXE = Path(axe_core_python.__file__).parent / "axe.min.js"
HEADLESS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


class Tab:
    """A page that keeps every request and every error."""

    def __init__(self, socket_url: str) -> None:
        self.connection: ClientConnection = connect(socket_url, max_size=None)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.calls = 0
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.calls += 1
        self.connection.send(json.dumps({"id": self.calls, "method": method, "params": params}))
        while True:
            message = json.loads(self.connection.recv(timeout=SECONDS))
            if message.get("id") == self.calls:
                return dict(message["result"])
            self.note(message.get("method", ""), message.get("params", {}))

    def note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown" or (method, params.get("entry", {}).get("level")) == (
            "Log.entryAdded",
            "error",
        ):
            self.errors.append(json.dumps(params))

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, of a promise once it is resolved."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def find_violations(self) -> list[str]:
        """Return what axe-core finds that keeps people from using the page."""
        self.evaluate(AXE.read_text(encoding="utf-8"))
        described = "run.violations.map(one => `${one.impact} ${one.id}: ${one.nodes[0].html}`)"
        return list(self.evaluate(f"axe.run().then(run => {described})"))

    def wait(self, expression: str) -> None:
        wait_until(lambda: self.evaluate(expression), expression, SECONDS)


def stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=30)


@contextmanager
def opened_tab(folder: Path) -> Iterator[Tab]:
    """An empty page in a browser of its own, which keeps its profile in a folder."""
    own = ["--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=1700,1200", "about:blank"]
    process = subprocess.Popen([str(CHROMIUM), *HEADLESS, *own], start_new_session=True, stderr=subprocess.DEVNULL)
    written = folder / "DevToolsActivePort"
    wait_until(lambda: written.exists() and "\n" in written.read_text(), "Chromium", SECONDS, process)
    with urlopen(f"http://127.0.0.1:{written.read_text().splitlines()[0]}/json", timeout=30) as answer:
        pages = [page for page in json.load(answer) if page["type"] == "page"]
    one = Tab(pages[0]["webSocketDebuggerUrl"])
    try:
        yield one
    finally:
        one.connection.close()
        stop(process)
