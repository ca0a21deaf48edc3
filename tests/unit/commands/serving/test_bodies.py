from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import HTTPException, Request

from helpers.web import make_request
from triptych.commands.serving import bodies
from triptych.commands.serving.bodies import MOST_BYTES, MOST_IN_MEMORY, Inbox


async def receive(inbox: Inbox, request: Request) -> bytes:
    async with inbox.receive(request) as received:
        assert (received.headers, inbox.held > 0) == (request.headers, True)
        return await received.body()


@pytest.mark.parametrize("size", [3, MOST_IN_MEMORY + 1])
def test_a_body_is_the_same_after_it_has_arrived_and_is_held_no_longer(size: int) -> None:
    inbox, pieces = Inbox(), [b"a" * size, b"b" * size]
    assert asyncio.run(receive(inbox, make_request(pieces))) == b"".join(pieces)
    assert inbox.held == 0


@pytest.mark.parametrize(
    ("sent", "limits", "status"),
    [
        (make_request([], declared=MOST_BYTES + 1, end=""), {}, 413),
        (make_request([b"x" * 9], end=""), {"MOST_BYTES": 8}, 413),
        (make_request([b"x" * 9], end=""), {"MOST_WAITING": 8}, 503),
        (make_request([b"x" * 9], end=""), {"MOST_SECONDS": 0.01}, 408),
        (make_request([b"x" * 9], end="http.disconnect"), {}, 400),
    ],
)
def test_what_is_too_much_or_does_not_arrive_is_refused_and_not_held(
    sent: Request, limits: dict[str, Any], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(bodies, name, limit)
    inbox = Inbox()
    with pytest.raises(HTTPException) as refused:
        asyncio.run(receive(inbox, sent))
    assert (refused.value.status_code, inbox.held) == (status, 0)
