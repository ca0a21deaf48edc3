"""Writing files atomically, so that they are either complete or absent, and marking files as used."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(file: Path, content: bytes) -> None:
    """Write `content` to `file` by way of a temporary file beside it."""
    with replace_atomically(file) as partial:
        partial.write_bytes(content)


@contextmanager
def replace_atomically(file: Path) -> Iterator[Path]:
    """Yield the path of a temporary file to write, which replaces `file` when the block ends without an error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.stem}.{uuid.uuid4().hex}{file.suffix}")
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def touch(*files: Path) -> None:
    """Mark files as used now, so that `triptych cache` keeps them; ignore any that is missing or read-only."""
    for file in files:
        with suppress(OSError):
            os.utime(file)
