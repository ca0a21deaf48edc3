"""A proxy in front of a server, as a bad network is: slow, with answers that are errors, with connections that drop."""

from __future__ import annotations

import http.client
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What happens to a request. `unsent`: the connection is closed before the server gets it; `lost`: after it has done its
# work, but before the client gets the answer.
FAULTS = ("slow", "500", "503", "unsent", "lost")
SECONDS = 0.2


class FaultyProxy(ThreadingHTTPServer):
    """The proxy.

    Attributes:
        address: its own.
        fault: what happens to some requests; "" for nothing.
        share: of the requests that meet with it.
        most: so many requests meet with it at most.
        met: how many requests have met with a fault.
    """

    daemon_threads = True

    def __init__(self, server: str) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server = server.partition("//")[2]
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.fault = ""
        self.share = 0.2
        self.most = sys.maxsize
        self.met = 0
        self._random = random.Random(0)  # noqa: S311 - moments, not secrets
        self._counting = threading.Lock()

    def next_fault(self) -> str:
        """Return what happens to the next request."""
        with self._counting:
            meets = self.fault and self.met < self.most and self._random.random() < self.share
            self.met += bool(meets)
            return self.fault if meets else ""

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that are gone."""


class _Handler(BaseHTTPRequestHandler):
    server: FaultyProxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.next_fault()
        self.close_connection = True
        if fault == "unsent":
            return
        if fault.isdecimal():
            self.send_error(int(fault))
            return
        if fault == "slow":
            time.sleep(SECONDS)
        upstream = http.client.HTTPConnection(self.server.server, timeout=120)
        upstream.request(self.command, self.path, body or None, {**self.headers, "Connection": "close"})
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if fault == "lost":
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - `http.server` calls them so

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def faulty_proxy(server: str) -> Iterator[FaultyProxy]:
    """A proxy in front of the server at an address, without faults at first."""
    with FaultyProxy(server) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()
