from __future__ import annotations

import base64
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from helpers.png import chunk
from helpers.web import HOSTILE, FixedModel, draw, make_served, serving
from triptych.commands.serving.app import AT_A_TIME
from triptych.commands.serving.bodies import MOST_BYTES
from triptych.panels.prediction import predict_files

BOMB = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">II5B", 65535, 65535, 8, 0, 0, 0, 0)) + chunk(b"IDAT", b"")


@pytest.fixture(scope="module")
def model() -> FixedModel:
    return FixedModel(make_served())


@pytest.fixture(scope="module")
def client(model: FixedModel) -> Iterator[httpx.Client]:
    with serving(model) as connected:
        yield connected


def test_it_answers_what_predict_prints(client: httpx.Client, model: FixedModel, tmp_path: Path) -> None:
    shades = {"dark.png": draw(120), "light.jpg": draw(131, 40, "JPEG")}
    for name, content in shades.items():
        (tmp_path / name).write_bytes(content)
    loaded = model.current.loaded
    rows, _ = predict_files(loaded.network, loaded.classes, [tmp_path / name for name in shades], 2)
    answer = client.post("/predict", files=[("image", shade) for shade in shades.items()]).json()
    assert (answer["model"], answer["version"]) == ("shades", "3")
    assert [row["image"] for row in answer["predictions"]] == [*shades]
    assert [row["classes"] for row in answer["predictions"]] == [row["classes"] for row in rows]
    assert {row["classes"][0]["class"] for row in answer["predictions"]} == {"dark", HOSTILE}
    encoded = [base64.b64encode(content).decode() for content in shades.values()]
    [first, _] = client.post("/predict", json={"images": encoded}, params={"top": 1}).json()["predictions"]
    assert first == {"image": "images[0]", "classes": rows[0]["classes"][:1]}


def test_what_is_no_image_is_named_with_the_remedy(client: httpx.Client) -> None:
    files = [("image", one) for one in (("a.png", draw()), ("\x1bb.png", b""), ("c.png", BOMB), ("d", draw()[:40]))]
    refused = client.post("/predict", files=files)
    assert refused.status_code == 422
    empty, bomb, cut = refused.json()["detail"].split("; ")
    assert empty == "\\x1bb.png cannot be read (the file is empty): replace or remove the file"
    assert bomb.startswith("c.png cannot be read (")
    assert "decompression bomb" in bomb
    assert cut.startswith("d cannot be read (")


def test_an_image_of_a_size_that_the_network_does_not_take_is_refused() -> None:
    with serving(FixedModel(make_served((2, 3, 1)))) as client:
        refused = client.post("/predict", files={"image": draw()})
    assert refused.status_code == 422
    assert refused.json()["detail"] == "an image has 2 x 2 pixels: this network takes 2 x 3 only, so resize it"


def test_the_version_may_change_between_two_requests_and_may_be_unsure(
    client: httpx.Client, model: FixedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/health").json() == {"model": "shades", "version": "3", "registry_answers": True}
    monkeypatch.setattr(model, "current", make_served(threshold=0.9))
    monkeypatch.setattr(model, "problem", "it is away")
    files = [("image", draw(128)), ("image", draw(0))]
    answers = client.post("/predict", files=files).json()["predictions"]
    assert [row["answer"] for row in answers] == ["not sure", "dark"]
    assert client.get("/health").json()["registry_answers"] is False
    assert [client.head(path).status_code for path in ("/", "/health")] == [200, 200]


def test_a_large_request_gets_an_answer_and_no_memory(client: httpx.Client) -> None:
    refused = client.post("/predict", files={"image": bytes(MOST_BYTES)})
    assert refused.status_code == 413
    assert "send fewer or smaller images" in refused.json()["detail"]


def test_uploads_that_do_not_end_keep_nobody_waiting(client: httpx.Client) -> None:
    address = client.base_url.host, client.base_url.port or 0
    with ExitStack() as slow:
        for _ in range(AT_A_TIME + 1):
            upload = slow.enter_context(socket.create_connection(address))
            upload.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
            upload.sendall(b"Content-Length: 99\r\n\r\n{")
        assert client.get("/health").status_code == 200
        assert client.post("/predict", files={"image": draw()}, timeout=20).status_code == 200


def test_pages_of_other_sites_get_nothing_and_nothing_is_loaded_from_them(client: httpx.Client) -> None:
    assert (
        client.post("/predict", files={"image": draw()}, headers={"Origin": "http://evil.example"}).status_code == 403
    )
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 421
    for path in ("/", "/page.js", "/page.css", "/health", "/openapi.json"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "://" not in answer.text
    assert {client.get(path).status_code for path in ("/docs", "/redoc", "/nothing", "/../app.py")} == {404}


def test_openapi_names_both_bodies_and_every_refusal(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    assert set(described["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert set(described["responses"]) == {"200", "400", "403", "408", "413", "415", "421", "422", "503"}
