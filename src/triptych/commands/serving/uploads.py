"""Images from the body of a request: the files of a form, or base64 in JSON."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile

from triptych.errors import escape_controls

# The most that a request may hold.
MOST_IMAGES = 32
FORM, JSON = "multipart/form-data", "application/json"
# Of a file's name, or of what is wrong with JSON, which may quote it.
MOST_CHARACTERS = 200


class EncodedImages(BaseModel):
    """The body of a request as JSON."""

    model_config = ConfigDict(extra="forbid")

    images: list[str] = Field(
        min_length=1, max_length=MOST_IMAGES, description="Image files in base64, or as data: URLs."
    )


class Upload(NamedTuple):
    """An image file as it was sent.

    Attributes:
        name: its name, or its place in the JSON.
        content: its bytes.
    """

    name: str
    content: bytes


Reader = Callable[[Request], Awaitable[list[Upload]]]

# Both bodies, for OpenAPI.
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "additionalProperties": {"type": "string", "format": "binary"},
                    "minProperties": 1,
                    "maxProperties": MOST_IMAGES,
                    "description": "Image files, under any names.",
                }
            },
            JSON: {"schema": EncodedImages.model_json_schema()},
        },
    }
}


def find_reader(request: Request) -> Reader:
    """Return what reads the images of a request, and raises status 400 where it cannot.

    Raises:
        HTTPException: status 415.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in READERS:
        raise HTTPException(415, f"Content-Type is {kind[:MOST_CHARACTERS]!r}: send {' or '.join(READERS)}")
    return READERS[kind]


async def read_form(request: Request) -> list[Upload]:
    """Return the files of a form."""
    try:
        async with request.form(max_files=MOST_IMAGES, max_fields=MOST_IMAGES) as form:
            fields = form.multi_items()
            texts = [name for name, value in fields if not isinstance(value, UploadFile)]
            if texts or not fields:
                found = f"the field {shorten(texts[0])!r} is no file" if texts else "the form has no file"
                raise HTTPException(400, f"{found}: send images as files, such as with curl -F image=@photo.jpg")
            files = [value for _, value in fields if isinstance(value, UploadFile)]
            return [Upload(shorten(file.filename or "image"), await file.read()) for file in files]
    except ValueError as error:  # of a character set that cannot be read
        raise HTTPException(400, f"the form cannot be read: {shorten(str(error))}") from error


async def read_json(request: Request) -> list[Upload]:
    """Return the images of a JSON body."""
    return await run_in_threadpool(decode_json, await request.body())


def decode_json(body: bytes) -> list[Upload]:
    """Return the images of a JSON body."""
    try:
        texts = EncodedImages.model_validate_json(body).images
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        reason = shorten(f"{place}: {first['msg']}")
        raise HTTPException(400, f'{reason}; send {{"images": ["BASE64", ...]}}') from error
    return [Upload(f"images[{number}]", decode_base64(text, number)) for number, text in enumerate(texts)]


def decode_base64(text: str, number: int) -> bytes:
    """Return what a text or a data: URL encodes."""
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError as error:
        raise HTTPException(400, f"images[{number}] is not base64: {shorten(str(error))}") from error


def shorten(text: str) -> str:
    """Return the beginning of a text from outside, as text that any reader can show."""
    return escape_controls(text[:MOST_CHARACTERS])


READERS: dict[str, Reader] = {FORM: read_form, JSON: read_json}
