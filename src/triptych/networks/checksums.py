"""Checksums of the files of a model, in the format of `sha256sum`, checked before the model is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triptych.errors import DamagedFileError

CHECKSUMS = "SHA256SUMS"
REMEDY = "fetch or train the model again"


def write_checksums(folder: Path) -> None:
    """Write the SHA-256 of every file in a folder to `SHA256SUMS` in it."""
    lines = [f"{_hash_file(folder / name)}  {name}\n" for name in _list_files(folder)]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def check_checksums(folder: Path, *, complete: bool = True) -> None:
    """Check that the files in a folder are those that `write_checksums` found; do nothing if it was never called.

    Args:
        folder: the folder.
        complete: whether other files are refused.

    Raises:
        DamagedFileError: a file was changed, is missing, or is not listed.
    """
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedFileError(folder / CHECKSUMS, str(error), REMEDY) from error
    listed = {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}
    for name, checksum in listed.items():
        if not (folder / name).is_file():
            raise DamagedFileError(folder / name, f"it is missing, but listed in {CHECKSUMS}", REMEDY)
        if _hash_file(folder / name) != checksum:
            raise DamagedFileError(folder / name, f"its SHA-256 is not that in {CHECKSUMS}", REMEDY)
    for name in _list_files(folder) if complete else ():
        if name not in listed:
            raise DamagedFileError(folder / name, f"it is not listed in {CHECKSUMS}", REMEDY)


@contextmanager
def reading_model(place: Path) -> Iterator[None]:
    """Turn any error of the block into one that names the damaged file or folder: version 0.1 saved no checksums.

    Raises:
        DamagedFileError: the block failed.
    """
    try:
        yield
    except Exception as error:  # readers of formats raise almost any error
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise DamagedFileError(place, reason, REMEDY) from error


def _list_files(folder: Path) -> Iterator[str]:
    """Yield the paths of all files but the checksums, and those that systems and Python add."""
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        added = name == Path(CHECKSUMS) or "__pycache__" in name.parts or name.name.startswith(".")
        if file.is_file() and not added:
            yield name.as_posix()


def _hash_file(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
