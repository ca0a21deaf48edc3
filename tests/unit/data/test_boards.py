"""A board is prepared once on each machine, from the same data."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from triptych.config.resolve import resolve_config
from triptych.data.boards import load_board, open_board, prepare_board
from triptych.errors import DataError


def test_a_machine_without_the_shared_cache_prepares_the_board_itself(
    make_photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos(tmp_path / "photos", {"a": 8, "b": 8})
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "head"))
    prepared = prepare_board(resolve_config("photos", data=str(photos)).boards[0])
    there = load_board(prepared)
    pixels, split = there.pixels.copy(), there.split
    shutil.rmtree(tmp_path / "head")
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "worker"))
    here = open_board(prepared)
    assert here.prepared.split_file.is_relative_to(tmp_path / "worker")
    np.testing.assert_array_equal(here.pixels, pixels)
    np.testing.assert_array_equal(here.split.test, split.test)
    (photos / "a" / "0.jpg").unlink()
    shutil.rmtree(tmp_path / "worker")
    with pytest.raises(DataError, match="is not the data of the comparison"):
        open_board(prepared)
