"""Connections to the server, which end where no request arrives."""

from __future__ import annotations

import asyncio

from h11 import IDLE
from uvicorn.protocols.http.h11_impl import H11Protocol

# Between two pieces of a request's header, and before the first one.
MOST_SECONDS = 60.0


class Connection(H11Protocol):
    """A connection that is closed after a silence before the end of a request's header.

    The library limits only the silence between two requests. Clients that vanished before their first one would stay,
    until the process has no file descriptors left.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with the silence before the first request."""
        super().connection_made(transport)
        self.limit_silence()

    def data_received(self, data: bytes) -> None:
        """Take what arrives, and wait for the rest of the header, if it has none yet."""
        super().data_received(data)
        if self.conn.their_state is IDLE and not self.transport.is_closing():
            self.limit_silence()

    def limit_silence(self) -> None:
        """Close the connection at the end of a silence, as the library does after a request."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(MOST_SECONDS, self.timeout_keep_alive_handler)
