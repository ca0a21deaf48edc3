from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from triptych.errors import StorageError
from triptych.system.files import replace_atomically, touch, write_atomically


def write_half(file: Path) -> None:
    with replace_atomically(file) as partial:
        partial.write_bytes(b"sec")
        raise OSError("no space left")


def test_a_file_is_complete_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "new" / "file.txt"
    write_atomically(file, b"first")
    with pytest.raises(OSError, match="no space"):
        write_half(file)
    assert file.read_bytes() == b"first"
    write_atomically(file, b"second")
    assert file.read_bytes() == b"second"
    assert list(file.parent.iterdir()) == [file]


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    file = tmp_path / f"{'名' * 83}.html"
    write_atomically(file, b"content")
    assert file.read_bytes() == b"content"
    with pytest.raises(StorageError, match=r"cannot be written \(File name too long\): shorten the name, or"):
        write_atomically(tmp_path / ("x" * 256), b"content")


def test_files_are_marked_as_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.utime(file, (0, 0))
    began = time.time()
    touch(tmp_path / "missing", file)
    assert file.stat().st_mtime >= began - 1.0
