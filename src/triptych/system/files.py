"""Writing files atomically, so that they are either complete or absent, and marking files as used."""

from __future__ import annotations

import errno
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from triptych.errors import StorageError
from triptych.system.paths import cache_home

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What SQLite says, however MLflow and Prefect pass it on.
FULL = "database or disk is full"
NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}
IN_THE_WAY = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
# Characters of a name that a temporary file keeps: a name has up to 255 bytes, and a character up to 4.
KEPT = 32


def write_atomically(file: Path, content: bytes) -> None:
    """Write `content` to `file` by way of a temporary file beside it.

    Raises:
        StorageError: there is no room, no permission, or something else in the way.
    """
    with replace_atomically(file) as partial:
        partial.write_bytes(content)


@contextmanager
def replace_atomically(file: Path) -> Iterator[Path]:
    """Yield the path of a temporary file to write, which replaces `file` when the block ends without an error.

    Raises:
        StorageError: there is no room, no permission, or something else in the way.
    """
    partial = file.with_name(f".{file.stem[:KEPT]}.{uuid.uuid4().hex}{file.suffix}")
    with writing_to(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            partial.replace(file)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


@contextmanager
def writing_to(place: Path) -> Iterator[None]:
    """Turn an error of the file system in the block into one line that names the file or folder and the remedy.

    Raises:
        StorageError: there is no room, no permission, or something else in the way.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM | NO_PERMISSION | IN_THE_WAY | {errno.ENAMETOOLONG}:
            raise
        raise explain_storage(error, place) from error


def explain_storage(error: OSError, place: Path) -> StorageError:
    """Return an error of the file system as one line: the file or folder, the reason and the remedy."""
    first = "make room there" if error.errno in NO_ROOM else "allow this user to write there"
    if error.errno in IN_THE_WAY:
        first = "move away what is in its place"
    if error.errno == errno.ENAMETOOLONG:
        first = "shorten the name"
    other = "choose another place"
    for home, variable in ((cache_home(), "TRIPTYCH_CACHE_HOME"), (Path(tempfile.gettempdir()), "TMPDIR")):
        if place.is_relative_to(home):
            other = f"set {variable} to another folder"
            break
    return StorageError(f"{place} cannot be written ({error.strerror}): {first}, or {other}")


def explain_reading(error: OSError) -> str:
    """Return why a file or folder cannot be read, and the remedy, to follow its name.

    >>> explain_reading(PermissionError(errno.EACCES, "Permission denied"))
    'may not be read: allow it with chmod a+rX'
    """
    if error.errno in NO_PERMISSION:
        return "may not be read: allow it with chmod a+rX"
    return f"cannot be read ({error.strerror or type(error).__name__}): restore it"


def check_cache() -> None:
    """Check that this user can write to the cache, which every comparison and every study does.

    Raises:
        StorageError: the cache cannot be written.
    """
    folder = cache_home() / "trainings"
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"some room")


def measure_folder(folder: Path) -> int:
    """Return the bytes of the files in a folder and below; links are counted, but not followed."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # another process may be deleting it
                total += os.lstat(Path(place, name)).st_size
    return total


def touch(*files: Path) -> None:
    """Mark files as used now, so that `triptych cache` keeps them; ignore any that is missing or read-only."""
    for file in files:
        with suppress(OSError):
            os.utime(file)
