from __future__ import annotations

import asyncio
import base64
import json

import pytest
from fastapi import Request
from starlette.exceptions import HTTPException

from helpers.web import make_request
from triptych.commands.serving.uploads import MOST_IMAGES, Upload, find_reader

FORM = "multipart/form-data; boundary=b"
JSON = "application/json"


def part(name: bytes = b'name="image"; filename="a.png"', content: bytes = b"content") -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + name + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


def read(body: bytes, kind: str) -> list[Upload]:
    """Read the images of a request."""
    request = make_request([body], kind)
    return asyncio.run(read_request(request))


async def read_request(request: Request) -> list[Upload]:
    return await find_reader(request)(request)


def test_files_of_a_form_and_base64_are_the_same() -> None:
    content = bytes(range(256))
    assert read(form(part(content=content), part(b'name="b"; filename=""')), FORM) == [
        Upload("a.png", content),
        Upload("image", b"content"),
    ]
    text = base64.encodebytes(content).decode()
    body = json.dumps({"images": [text, f"data:image/png;base64,{text}"]}).encode()
    assert read(body, f"{JSON}; charset=utf-8") == [Upload("images[0]", content), Upload("images[1]", content)]


def test_a_name_is_text_that_any_reader_can_show() -> None:
    [upload] = read(form(part(b'name="x"; filename="\xf0\x9f\x90\x9c\x1b[31m' + b"x" * 500 + b'"')), FORM)
    assert upload.name.startswith("\U0001f41c\\x1b[31mxxx")
    assert upload.name.isprintable()
    assert len(upload.name) < 210
    [odd] = read(form(part(b'name="x"; filename="+2AA-"')), f"{FORM}; charset=utf-7")  # half a pair of UTF-16
    assert odd.name.encode()


BAD: dict[str, tuple[bytes, str, int]] = {
    "no type": (b"", "", 415),
    "text": (form(part()), "text/plain", 415),
    "a form of text": (b"image=x", "application/x-www-form-urlencoded", 415),
    "no boundary": (form(part()), "multipart/form-data", 400),
    "another boundary": (form(part()), "multipart/form-data; boundary=c", 400),
    "empty form": (b"", FORM, 400),
    "no parts": (form(), FORM, 400),
    "a field": (form(part(b'name="image"')), FORM, 400),
    "a part without a name": (form(part(b'filename="a.png"')), FORM, 400),
    "too many files": (form(*[part()] * (MOST_IMAGES + 1)), FORM, 400),
    "too many fields": (form(*[part(b'name="x"')] * (MOST_IMAGES + 1)), FORM, 400),
    "a character set that is none": (form(part()), f"{FORM}; charset=undefined", 400),
    "no JSON": (b"\xff\xfe", JSON, 400),
    "empty JSON": (b"", JSON, 400),
    "deep JSON": (b"[" * 100_000, JSON, 400),
    "a list": (b"[]", JSON, 400),
    "no images": (b'{"images": []}', JSON, 400),
    "another field": (b'{"images": ["eA=="], "\\ud83d\\ude00": 1}', JSON, 400),
    "half a character": (b'{"images": ["\\ud800"]}', JSON, 400),
    "numbers": (b'{"images": [1]}', JSON, 400),
    "no base64": ('{"images": ["ärger"]}'.encode(), JSON, 400),
    "cut base64": (b'{"images": ["eA="]}', JSON, 400),
    "too many images": (json.dumps({"images": ["eA=="] * (MOST_IMAGES + 1)}).encode(), JSON, 400),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_refused_in_a_line(case: str) -> None:
    body, kind, status = BAD[case]
    with pytest.raises(HTTPException) as refused:
        read(body, kind)
    assert refused.value.status_code == status
    assert refused.value.detail.isprintable()
    assert 10 < len(refused.value.detail) < 350
