"""Files that are either whole or absent."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(file: Path, content: bytes) -> None:
    """Write `content` to `file` through a neighbour that is renamed when complete."""
    with replace_atomically(file) as partial:
        partial.write_bytes(content)


@contextmanager
def replace_atomically(file: Path) -> Iterator[Path]:
    """Yield the path of a neighbour to write to; it takes the name of `file` when the block ends well."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.stem}.{uuid.uuid4().hex}{file.suffix}")
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def touch(*files: Path) -> None:
    """Mark files as used now, where they exist and may be written; those that nobody uses may be deleted one day."""
    for file in files:
        with suppress(OSError):
            os.utime(file)
