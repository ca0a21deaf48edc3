from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from triptych.images.room import SHARE_PIXELS, SHARES, Room, gather, make_shared


@pytest.mark.parametrize("shared", [(), make_shared(multiprocessing.get_context("forkserver"))], ids=["own", "shared"])
def test_large_pictures_wait_for_each_other_and_small_ones_for_none(shared: Any) -> None:
    room, together = Room(*shared), threading.Lock()
    held = most = 0

    def work(pixels: int) -> None:
        nonlocal held, most
        with room.hold(pixels):
            with together:
                held += min(pixels, SHARES * SHARE_PIXELS)
                most = max(most, held)
            done.wait(0.001)
            with together:
                held -= min(pixels, SHARES * SHARE_PIXELS)

    done = threading.Event()
    third = SHARES * SHARE_PIXELS // 3
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, [third, 2 * third, third, 100 * third, *[third] * 30, 2 * third]))
    assert most <= SHARES * SHARE_PIXELS  # one that is too large for the room is alone in it
    with room.hold(SHARES * SHARE_PIXELS), ThreadPoolExecutor(1) as pool:
        pool.submit(work, SHARE_PIXELS - 1).result(timeout=5)


def test_room_is_given_back_when_the_work_fails() -> None:
    room = Room()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), room.hold(2 * SHARES * SHARE_PIXELS):
            raise ZeroDivisionError
    with room.hold(SHARES * SHARE_PIXELS):
        pass


def test_images_are_gathered_by_number_and_by_size() -> None:
    large, small = np.empty((2**12, SHARES * 2**9, 1), dtype=np.uint8), np.empty((1, 1, 1), dtype=np.uint8)
    images = [*enumerate([small] * 5), (5, large), (6, large), (7, small)]
    lengths = [[key for key, _ in gathered] for gathered in gather(images, 3)]
    assert lengths == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [[key for key, _ in some] for some in gather([*enumerate([large] * 4)], 3)] == [[0, 1], [2, 3]]
    assert list(gather([], 3)) == []
