from __future__ import annotations

import socket

import pytest

from helpers.web import FixedModel, make_served, serving
from triptych.commands.serving import connections

HEADER = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"


def test_a_connection_without_a_request_ends_and_one_with_a_request_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_SECONDS", 0.2)
    with serving(FixedModel(make_served())) as client:
        address = client.base_url.host, client.base_url.port or 0
        with socket.create_connection(address, 9) as uploading, socket.create_connection(address, 9) as torn:
            uploading.sendall(HEADER)
            torn.sendall(HEADER + b"{}")
            assert torn.recv(99).startswith(b"HTTP/1.1 400")
            torn.sendall(HEADER[:40])
            for sent in (b"", HEADER[:40]):
                with socket.create_connection(address, 9) as silent:
                    silent.sendall(sent)
                    assert silent.recv(99) == b""
            while torn.recv(999):
                pass
            uploading.sendall(b"{}")
            assert uploading.recv(99).startswith(b"HTTP/1.1 400")
