"""1,000 malformed uploads to the server of `triptych serve`: each gets a status of 4xx, and memory stays bounded."""

from __future__ import annotations

import base64
import json
import socket
import struct
import sys
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.fuzzing import FILES, SIGNS, damaged
from helpers.peak import read_memory, reset_peak
from helpers.png import chunk
from helpers.web import FixedModel, draw, make_served, serving
from triptych.commands.serving.bodies import MOST_BYTES
from triptych.errors import UnreadableImageError
from triptych.images.decoding import decode_image

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read and reset in /proc"),
]
EXAMPLES, MALFORMED = 1800, 1000
# Beyond what the libraries take: the largest picture that is read at 7 bytes a pixel, and the bodies of four requests.
MOST_MEMORY = 1 << 30
FORM, JSON = "multipart/form-data", "application/json"
ODD_FORMS = ("", "; boundary=", "; boundary=b; charset=undefined", "; boundary=b; charset=utf-7")
SOUND, ODD = (f"{FORM}; boundary=b", JSON), (f"{JSON};", "text/plain", "image/png", "", "\u00e4")
TYPES = st.sampled_from([*SOUND * 4, *(f"{FORM}{odd}" for odd in ODD_FORMS), *ODD])
HEADERS = st.sampled_from(
    [
        *(
            'form-data; name="image"; filename="a.png"',
            'form-data; name="x"',
            'form-data; filename="a"',
            "form-data",
            "",
        ),
        *(f'form-data; name="image"; filename="{sign}"'.replace("\n", "%0A") for sign in SIGNS),
        'form-data; name="image"; filename="' + "x" * 5000 + '"',
    ]
)
TEXTS = st.one_of(
    FILES.map(lambda content: base64.b64encode(content).decode()),
    st.text(max_size=40),
    st.sampled_from(["data:image/png;base64,", "=", "A", "\\ud800", "QQ==" * 1000]),
)


def write_form(parts: list[tuple[str, bytes]]) -> bytes:
    """Return the body of a form."""
    encoded = [(header.encode(errors="surrogateescape"), content) for header, content in parts]
    lines = [b"--b\r\nContent-Disposition: %s\r\n\r\n%s\r\n" % part for part in encoded]
    return b"".join(lines) + b"--b--\r\n"


FORMS = st.lists(st.tuples(HEADERS, FILES), max_size=4).map(write_form)
DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
JSONS = st.one_of(DOCUMENTS, st.fixed_dictionaries({"images": st.lists(TEXTS, max_size=3)})).map(
    lambda document: json.dumps(document).encode()
)
BODIES = st.one_of(FORMS, damaged(FORMS), JSONS, damaged(JSONS), st.binary(max_size=64))


def test_a_thousand_malformed_uploads_get_4xx_and_take_little_memory(tmp_path: Path) -> None:
    statuses: Counter[int] = Counter()
    with serving(FixedModel(make_served())) as client:

        def send(body: bytes, kind: str) -> None:
            answer = client.post("/predict", content=body, headers={b"Content-Type": kind.encode()})
            statuses[answer.status_code] += 1
            assert 200 <= answer.status_code < 500, (body, kind)
            assert answer.json()

        @settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(BODIES, TYPES)
        def send_any(body: bytes, kind: str) -> None:
            send(body, kind)

        @settings(max_examples=EXAMPLES // 3, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(FILES)
        def send_file(content: bytes) -> None:
            (tmp_path / "file").write_bytes(content)
            try:
                decode_image(tmp_path / "file")
                expected = 200
            except UnreadableImageError:
                expected = 422
            assert client.post("/predict", files={"image": content}).status_code == expected
            statuses[expected] += 1

        before = reset_peak()
        send_any()
        send_file()
        assert client.post("/predict", files={"image": draw()}).status_code == 200
    assert sum(count for status, count in statuses.items() if status >= 400) >= MALFORMED, statuses
    assert read_memory("VmHWM") - before < MOST_MEMORY


def write_bomb(side: int) -> bytes:
    """Return a small PNG of a large black square."""
    rows = zlib.compress(bytes(side * (side + 1)), 9)
    header = chunk(b"IHDR", struct.pack(">II5B", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_bombs_and_large_requests_at_once_take_bounded_memory() -> None:
    bomb = write_bomb(9500)
    bodies = [bomb, bytes(MOST_BYTES + 1), draw(side=4000)] * 8
    encoded = json.dumps({"images": ["A" * (MOST_BYTES - 100)]}).encode()
    with serving(FixedModel(make_served())) as client, ThreadPoolExecutor(16) as users:
        before = reset_peak()
        sent = list(users.map(lambda body: client.post("/predict", files={"image": body}).status_code, bodies))
        assert sent == [422, 413, 200] * 8
        json_type = {"Content-Type": JSON}
        answers = users.map(lambda _: client.post("/predict", content=encoded, headers=json_type), range(8))
        assert {answer.status_code for answer in answers} == {422}
    assert read_memory("VmHWM") - before < 2 * MOST_MEMORY  # of which the users, in the same process, take half


def test_connections_that_say_nothing_or_end_early_leave_the_server_alone() -> None:
    with serving(FixedModel(make_served())) as client:
        address = client.base_url.host, client.base_url.port or 0
        start = (
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
        )
        for sent in (b"", b"\0" * 100, b"GET", start, start + b'{"images": ["', b"POST /predict HTTP/9\r\n\r\n"):
            for _ in range(10):
                with socket.create_connection(address) as connection:
                    connection.sendall(sent)
        answers = [client.get("/health", timeout=httpx.Timeout(30)).status_code for _ in range(3)]
    assert answers == [200] * 3
