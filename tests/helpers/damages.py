"""Ways in which a stored file may be damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def flip(file: Path) -> None:
    """Flip a bit in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    """Cut the second half off, as a full disk does."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def empty(file: Path) -> None:
    """Leave nothing, as a power failure may."""
    file.write_bytes(b"")


def put_another(file: Path) -> None:
    """Put text of another program in its place, or a file of a version with another layout."""
    file.write_text('{"version": 0}\n')


def put_folder(file: Path) -> None:
    """Put a folder in its place."""
    file.unlink()
    (file / "folder").mkdir(parents=True)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flip": flip,
    "cut": cut,
    "empty": empty,
    "other version": put_another,
    "folder": put_folder,
}
