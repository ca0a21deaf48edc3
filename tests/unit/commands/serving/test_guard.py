from __future__ import annotations

import pytest
from fastapi import Request

from triptych.commands.serving.guard import refuse


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:8000", None, None),
        ("[::1]:8000", "http://[::1]:8000", None),
        ("localhost:8000", "http://localhost:8000", None),
        ("192.0.2.7", None, None),
        ("Box", "https://Box", None),
        ("evil.example", None, 421),  # which leads here
        ("evil.example", "http://evil.example", 421),
        ("localhost.evil.example", None, 421),
        ("[", None, 421),
        ("", None, 421),
        ("127.0.0.1:8000", "http://evil.example", 403),
        ("127.0.0.1:8000", "http://127.0.0.1:9000", 403),
        ("127.0.0.1:8000", "null", 403),
    ],
)
def test_only_this_servers_own_pages_may_use_it(host: str, origin: str | None, status: int | None) -> None:
    given = {"host": host} if origin is None else {"host": host, "origin": origin}
    headers = [(name.encode(), value.encode()) for name, value in given.items()]
    response = refuse(Request({"type": "http", "headers": headers}), {"box"})
    assert (response and response.status_code) == status
