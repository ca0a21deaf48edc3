"""Bodies of requests, which arrive before a request takes one of the few places at the model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

# The most that a request may hold, and may take to arrive.
MOST_BYTES, MOST_SECONDS = 32 * 2**20, 60.0
# All bodies that arrive or wait, together. A small one is in memory, a larger one in a temporary file.
MOST_WAITING, MOST_IN_MEMORY = 32 * MOST_BYTES, 2**18
PIECE = 2**20
TOO_LARGE = f"the request is larger than {MOST_BYTES // 2**20} MiB: send fewer or smaller images"
BUSY = "the server holds as many requests as it can: send this one again in a minute"


@dataclass
class Inbox:
    """The bodies that arrive or wait.

    Attributes:
        held: their bytes.
    """

    held: int = 0

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Request]:
        """Receive a body; the block gets the same request, whose body no longer waits for the client.

        Raises:
            HTTPException: status 400, 408, 413 or 503, with what is wrong.
        """
        if int(request.headers.get("content-length", 0)) > MOST_BYTES:
            raise HTTPException(413, TOO_LARGE)
        received = 0
        with SpooledTemporaryFile(MOST_IN_MEMORY) as body:
            try:
                async with arriving():
                    async for piece in request.stream():
                        received += len(piece)
                        self.held += len(piece)
                        self._check(received)
                        body.write(piece)
                yield Request(request.scope, replay(body))
            finally:
                self.held -= received

    def _check(self, received: int) -> None:
        if received > MOST_BYTES:
            raise HTTPException(413, TOO_LARGE)
        if self.held > MOST_WAITING:
            raise HTTPException(503, BUSY, {"Retry-After": f"{MOST_SECONDS:.0f}"})


@asynccontextmanager
async def arriving() -> AsyncIterator[None]:
    """Limit the time in which a body arrives."""
    try:
        async with asyncio.timeout(MOST_SECONDS):
            yield
    except TimeoutError as error:
        raise HTTPException(408, f"the request took more than {MOST_SECONDS:.0f} seconds to arrive") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the request is not complete") from error


def replay(body: IO[bytes]) -> Receive:
    """Return a channel that gives a body from its beginning."""
    body.seek(0)

    async def receive() -> Message:
        piece = body.read(PIECE)
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    return receive
