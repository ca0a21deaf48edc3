from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.data.shards.files import write_rows
from triptych.data.shards.places import Run
from triptych.data.shards.rows import ShardedRows
from triptych.data.shards.side_by_side import SideBySideRows


def store(file: Path, rows: np.ndarray) -> ShardedRows:
    write_rows(file, np.zeros(len(rows), dtype=[("identity", "S32")]), rows)
    return ShardedRows.of((Run(file, 0, len(rows)),))


def test_rows_are_read_like_one_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(9, width)).astype(np.float32) for width in (3, 5)]
    whole = np.hstack(arrays)
    stored: Any = SideBySideRows(tuple(store(tmp_path / f"{array.shape[1]}.npy", array) for array in arrays))
    assert (len(stored), stored.shape, stored.dtype) == (9, (9, 8), np.float32)
    for rows in (slice(2, 5), np.array([8, 0, 3]), whole[:, 0] > 0, 4):
        np.testing.assert_array_equal(stored[rows], whole[rows])
    np.testing.assert_array_equal(np.asarray(stored, dtype=np.float64), whole.astype(np.float64))
    assert isinstance(stored.select(slice(3)), np.ndarray)
    monkeypatch.setattr("triptych.data.shards.side_by_side.COPIED_BYTES", 0)
    chosen = stored.select(np.array([5, 1, 7]))
    assert isinstance(chosen, SideBySideRows)
    np.testing.assert_array_equal(chosen.select(slice(1, 3))[:], whole[[1, 7]])
    with pytest.raises(ValueError, match="without copying"):
        np.asarray(stored, copy=False)
