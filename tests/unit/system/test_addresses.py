from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from helpers.faulty_proxy import faulty_proxy
from triptych.errors import ConfigError
from triptych.system import addresses
from triptych.system.addresses import check_prefect, check_tracking, tracking_uri


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "ANSWER_SECONDS", 1.0)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a program that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response({"/health": 503, "/api/health": 401}.get(self.path, 404))
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def answering() -> Iterator[str]:
    """The address of a server that has the pages of both MLflow and Prefect, and errors on them."""
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("mlflow.db", "is not the address of a store: use sqlite:////FOLDER/mlflow.db"),
        ("/home/ann/mlruns", "is not the address of a store"),
        ("file:///home/ann/mlruns", "is not the address of a store"),
        ("localhost:5000", "is not the address of a store"),
        ("http://", "no tracking server answers at MLFLOW_TRACKING_URI=http:// .*no host"),
        ("http://ann:secret@127.0.0.1:1", r"ann:\*\*\*@127.0.0.1:\d+ \(.*refused\): start it"),
        ("postgresql://ann:secret@127.0.0.1:1/runs", r"ann:\*\*\*@.*/runs cannot be opened .*refused"),
        ("postgresql://127.0.0.1:port/runs", "cannot be opened"),
        ("mysql+nodriver://127.0.0.1/runs", "cannot be opened .*nodriver"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://", "names no file"),
        ("sqlite:////home/who?/mlflow.db", r"may contain neither '\?' nor escapes such as '%20'"),
        ("sqlite:////home/a%2Fb/mlflow.db", r"may contain neither '\?' nor escapes such as '%20'"),
    ],
)
def test_an_address_without_a_store_is_refused_in_one_line(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_tracking(address)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_what_accepts_a_connection_and_says_nothing_is_given_up(scheme: str, silent: str) -> None:
    with pytest.raises(ConfigError, match=r"timed out|timeout expired"):
        check_tracking(f"{scheme}://{silent}/runs")


def test_any_answer_is_one_but_that_there_is_no_such_page(answering: str) -> None:
    check_tracking(answering)
    check_prefect(f"{answering}/api")
    with pytest.raises(ConfigError, match="another program answers"):
        check_tracking(f"{answering}/elsewhere")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:4200", "does not begin with http"),
        ("http://[::1/api", "IPv6"),
        ("http://127.0.0.1:1/api", "refused"),
    ],
)
def test_an_address_without_a_prefect_server_is_refused_in_one_line(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"no Prefect server answers at .*{reason}.*temporary server") as caught:
        check_prefect(url)
    assert "\n" not in str(caught.value)


def test_prefects_page_is_not_taken_for_its_api(answering: str) -> None:
    with pytest.raises(ConfigError, match="its path is missing, which is /api"):
        check_prefect(answering)


def test_without_an_address_the_local_store_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking_uri() == addresses.local_uri()
    assert tracking_uri().endswith("/mlflow/mlflow.db")


def test_a_connection_that_is_dropped_once_is_no_error(answering: str) -> None:
    with faulty_proxy(answering) as proxy:
        proxy.fault, proxy.share, proxy.most = "unsent", 1.0, 1
        check_tracking(proxy.address)
    assert proxy.met == 1
