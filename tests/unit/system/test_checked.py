from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.damages import DAMAGES
from triptych.errors import DamagedFileError, StorageError
from triptych.system import checked
from triptych.system.checked import (
    read_arrays,
    read_json,
    recall,
    verify,
    write_checked,
    write_json,
)

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def write_array(file: Path) -> None:
    with write_checked(file) as stream:
        np.save(stream, ARRAY)


def write_arrays(file: Path) -> None:
    with write_checked(file) as stream:
        np.savez(stream, array=ARRAY)


def write_text(file: Path) -> None:
    write_json(file, {"array": ARRAY.tolist()})


def read_text(file: Path) -> object:
    return read_json(file)["array"]


def map_array(file: Path) -> object:
    verify(file)
    return np.load(file, mmap_mode="r", allow_pickle=False).tolist()


def unpack_arrays(file: Path) -> object:
    verify(file)
    return read_arrays(file)["array"].tolist()


FORMATS = {
    "npy": (write_array, map_array),
    "npz": (write_arrays, unpack_arrays),
    "json": (write_text, read_text),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_made_anew(
    suffix: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    write, read = FORMATS[suffix]
    file = tmp_path / "folder" / f"stored.{suffix}"
    with pytest.raises(FileNotFoundError):
        read(file)
    write(file)
    assert read(file) == ARRAY.tolist()
    DAMAGES[damage](file)
    with pytest.raises(DamagedFileError, match=rf"stored\.{suffix} is damaged \(.+\): delete it, and run"):
        read(file)
    with caplog.at_level(logging.WARNING):
        assert recall(lambda: read(file)) is None
    assert f"stored.{suffix} is damaged" in caplog.text
    write(file)
    assert read(file) == ARRAY.tolist()


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_in_the_place_of_another_is_damaged(suffix: str, tmp_path: Path) -> None:
    write, read = FORMATS[suffix]
    write(tmp_path / f"one.{suffix}")
    (tmp_path / f"one.{suffix}").rename(tmp_path / f"other.{suffix}")
    with pytest.raises(DamagedFileError, match="its checksum is wrong"):
        read(tmp_path / f"other.{suffix}")


def test_nothing_outside_of_the_cache_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "folder" / "of a user").mkdir(parents=True)
    assert recall(lambda: read_text(tmp_path / "folder")) is None
    assert (tmp_path / "folder" / "of a user").is_dir()


def test_a_file_with_a_purpose_may_be_moved(tmp_path: Path) -> None:
    with write_checked(tmp_path / "one.npy", purpose="rows") as stream:
        np.save(stream, ARRAY)
    moved = (tmp_path / "one.npy").rename(tmp_path / "other.npy")
    verify(moved, purpose="rows")
    with pytest.raises(DamagedFileError):
        verify(moved, purpose="columns")


@pytest.mark.parametrize("write", [write_array, write_text])
def test_a_file_of_another_format_is_damaged(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "stored")
    monkeypatch.setattr(checked, "FORMAT", "another")
    with pytest.raises(DamagedFileError):
        (verify if write is write_array else read_json)(tmp_path / "stored")


def test_an_unchanged_file_is_read_once(tmp_path: Path) -> None:
    write_array(tmp_path / "stored.npy")
    before = checked._verify_state.cache_info()
    for _ in range(3):
        verify(tmp_path / "stored.npy")
    after = checked._verify_state.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)


def test_the_json_is_that_of_every_reader(tmp_path: Path) -> None:
    write_text(tmp_path / "stored.json")
    assert json.loads((tmp_path / "stored.json").read_text())["array"] == ARRAY.tolist()


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "stored.json").mkdir()
    with pytest.raises(StorageError, match=r"stored\.json cannot be written \(Is a directory\): move away"):
        write_text(tmp_path / "stored.json")
