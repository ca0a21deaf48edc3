from __future__ import annotations

from pathlib import Path

import numpy as np

from triptych.system.memory_map import release_pages


def test_released_pages_are_read_again(tmp_path: Path) -> None:
    array = np.arange(100_000).reshape(1000, 100)
    np.save(tmp_path / "array.npy", array)
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")
    view = mapped[3:][::2]
    np.testing.assert_array_equal(view, array[3:][::2])
    release_pages(view)
    np.testing.assert_array_equal(mapped, array)


def test_other_arrays_are_left_alone() -> None:
    array = np.arange(10)
    release_pages(array[2:])
    np.testing.assert_array_equal(array, range(10))
