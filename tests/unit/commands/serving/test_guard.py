from __future__ import annotations

import pytest
from fastapi import Request

from triptych.commands.serving.guard import check_name, refuse
from triptych.errors import ConfigError


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


@pytest.mark.parametrize("name", ["", "box:80", "https://box", "*", "*.box.example", "ann@box", "box/", "[", "a b:c"])
def test_a_name_that_no_request_has_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a machine: name it without scheme, port"):
        check_name(name)


def test_names_are_compared_in_lower_case() -> None:
    assert [check_name(name) for name in ("Box.example", "192.0.2.7", "my_box")] == [
        "box.example",
        "192.0.2.7",
        "my_box",
    ]
