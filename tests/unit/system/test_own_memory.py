from __future__ import annotations

import gc
import sys
import time

import numpy as np
import pytest

from triptych.system.own_memory import (
    OBJECTS_BETWEEN_COLLECTIONS,
    garbage_collection_paused,
    measuring_memory,
    taking_memory,
)

MANY = 100 * 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")


def test_each_piece_of_work_has_the_same_figure_whatever_ran_before() -> None:
    for _ in range(2):
        with measuring_memory() as growth:
            taken = np.ones(MANY, dtype=np.uint8)
            time.sleep(0.1)
            assert growth.mebibytes is None
        del taken
        assert growth.mebibytes == pytest.approx(100.0, abs=20.0)


def test_files_that_are_mapped_do_not_count(tmp_path: object) -> None:
    np.save(f"{tmp_path}/pixels.npy", np.ones(MANY, dtype=np.uint8))
    mapped = np.load(f"{tmp_path}/pixels.npy", mmap_mode="r")
    with measuring_memory() as growth:
        assert mapped[::4096].all()
    assert growth.mebibytes == pytest.approx(0.0, abs=20.0)


def test_work_that_shares_the_process_has_no_figure() -> None:
    with measuring_memory() as first:
        with measuring_memory() as second:
            pass
        with measuring_memory() as third:
            pass
    with measuring_memory() as fourth, taking_memory():
        pass
    with measuring_memory() as alone:
        pass
    assert [one.mebibytes for one in (first, second, third, fourth)] == [None] * 4
    assert alone.mebibytes is not None


def test_the_garbage_collector_is_paused_and_started_again() -> None:
    thresholds = gc.get_threshold()
    try:
        with garbage_collection_paused():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] == OBJECTS_BETWEEN_COLLECTIONS
        with pytest.raises(ImportError), garbage_collection_paused():
            raise ImportError
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
