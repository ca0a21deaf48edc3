from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from helpers.commands import run
from helpers.web import FixedModel, make_served, serving
from triptych.commands.serving import serve
from triptych.commands.serving.serve import listen, name_address


def test_a_port_in_use_is_refused_before_anything_is_loaded() -> None:
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert name_address(listening) == f"http://127.0.0.1:{port}/"
        assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert listening.getsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", socket.TCP_NODELAY))
        done = run("serve", "digits", "--port", str(port))
    assert done.returncode == 2
    assert done.stderr == (
        f"triptych: port {port} of 127.0.0.1 cannot be used (Address already in use): choose another with --port, or "
        "another address with --host\n"
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--host", "192.0.2.1"], "port 0 of 192.0.2.1 cannot be used (Cannot assign requested address)"),
        (["--host", "x" * 300], "cannot be used ("),
        (["--host", "::1::"], "port 0 of ::1:: cannot be used ("),
        (["--host", ""], "--host is empty: name an address, such as 127.0.0.1, or 0.0.0.0 for all of this machine"),
        (["--error-at-most", "2"], "--error-at-most '2' is not above 0 and below 100 %"),
    ],
)
def test_wrong_options_are_one_line(arguments: list[str], reason: str) -> None:
    done = run("serve", "digits", "--port", "0", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("triptych: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_address_of_version_6_is_in_brackets() -> None:
    if socket.has_ipv6:
        with listen("::1", 0) as listening:
            assert name_address(listening).startswith("http://[::1]:")


def test_the_end_of_the_server_cuts_an_upload_off_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "SECONDS_TO_ANSWER", 0.1)
    with ExitStack() as user, serving(FixedModel(make_served())) as client:
        connection = socket.create_connection((client.base_url.host, client.base_url.port or 0))
        user.enter_context(connection).sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n")
        connection.sendall(b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{")
        assert client.get("/health").status_code == 200
    assert capsys.readouterr().err == ""
