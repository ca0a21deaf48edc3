from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from triptych.data.shards import rows as sharded_rows
from triptych.data.shards.files import MappedShard, write_rows
from triptych.data.shards.places import Run
from triptych.data.shards.rows import ShardedRows


@pytest.fixture
def sharded(tmp_path: Path) -> tuple[ShardedRows, np.ndarray]:
    array = np.random.default_rng(1).normal(size=(11, 3)).astype(np.float32)
    a, b, c = (tmp_path / name for name in ("a.npy", "b.npy", "c.npy"))
    # Images 4 to 7 are written in one go, 0 to 3 together with others, 8 to 10 one by one: 9 and 10 in another order.
    runs = (Run(b, 1, 5), Run(a, 0, 4), Run(c, 2, 3), Run(c, 1, 2), Run(c, 0, 1))
    other = np.zeros((1, 3), dtype=np.float32)
    for file, rows in ((a, array[4:8]), (b, np.concatenate([other, array[:4], other])), (c, array[10:7:-1])):
        write_rows(file, np.zeros(len(rows), dtype=[("identity", "S32")]), rows)
    return ShardedRows.of(runs), array


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(3, 9),
        slice(None, None, -2),
        slice(0, 0),
        np.array([10, 0, 0, 5, -1]),
        [7, 2],
        np.array([], dtype=np.int64),
        np.arange(11) % 3 == 0,
        6,
        -1,
    ],
    ids=str,
)
def test_mapped_shards_are_read_like_one_array(
    sharded: tuple[ShardedRows, np.ndarray], rows: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped, array = sharded
    taken = mapped[rows]
    np.testing.assert_array_equal(taken, array[rows])  # type: ignore[call-overload]  # any of NumPy's ways to index
    assert taken.dtype == np.float32
    if not isinstance(rows, int):
        np.testing.assert_array_equal(mapped.select(rows)[:], array[rows])  # type: ignore[call-overload]
        monkeypatch.setattr(sharded_rows, "COPIED_BYTES", 0)
        left = mapped.select(rows)
        assert isinstance(left, ShardedRows) == bool(len(taken))
        np.testing.assert_array_equal(left[:], array[rows])  # type: ignore[call-overload]


def test_pages_that_were_read_are_given_back(
    sharded: tuple[ShardedRows, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharded_rows, "ROWS_BETWEEN_RELEASES", 3)
    mapped, array = sharded
    released: list[MappedShard] = []
    release = MappedShard.release

    def note_and_release(shard: MappedShard) -> None:
        released.append(shard)
        release(shard)

    monkeypatch.setattr(MappedShard, "release", note_and_release)
    for _ in range(2):
        for row in range(11):
            np.testing.assert_array_equal(mapped[row], array[row])
    assert released == mapped.mapped.shards * 7


def test_mapped_shards_have_the_properties_of_an_array(sharded: tuple[ShardedRows, np.ndarray]) -> None:
    mapped, array = sharded
    assert (len(mapped), mapped.shape, mapped.dtype) == (11, (11, 3), np.dtype(np.float32))
    np.testing.assert_array_equal(np.asarray(mapped), array)
    assert np.asarray(mapped, dtype=np.float64).dtype == np.float64
    with pytest.raises(IndexError):
        mapped[11]
