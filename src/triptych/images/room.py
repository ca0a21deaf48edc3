"""Room in memory for large pictures, shared by the threads and processes that read them.

A picture of 24 megapixels takes 170 MB while it is decoded. Small pictures need no permission; a large one waits until
those that are being worked on leave enough room.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from triptych.images.pixels import Pixels
from triptych.system.threads import count_cores

Key = TypeVar("Key")
# A picture takes a share of the room for each of these; one with fewer pixels takes none.
SHARE_PIXELS = 2**22
# 50 megapixels: two photos of 24 megapixels at once. Machines with more cores have more memory, too.
SHARES = max(12, 3 * count_cores())


class Room:
    """The shares that are free, and the turn to take some."""

    def __init__(self, turn: Any = None, shares: Any = None) -> None:
        """Begin with all shares; the lock and the semaphore may be those of `multiprocessing`."""
        self.turn = turn or threading.Lock()
        self.shares = shares or threading.Semaphore(SHARES)

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for a picture, and keep it while the block runs."""
        wanted = min(pixels // SHARE_PIXELS, SHARES)
        if wanted:
            with self.turn:  # one at a time: two that each had a part of what they need would wait forever
                for _ in range(wanted):
                    self.shares.acquire()
        try:
            yield
        finally:
            for _ in range(wanted):
                self.shares.release()


ROOM = Room()


def gather(images: Iterable[tuple[Key, Pixels]], most: int) -> Iterator[list[tuple[Key, Pixels]]]:
    """Yield decoded images in lists of at most `most`, or of fewer if these are so large that they fill the room."""
    gathered: list[tuple[Key, Pixels]] = []
    pixels = 0
    for key, image in images:
        gathered.append((key, image))
        pixels += image.shape[0] * image.shape[1]
        if len(gathered) == most or pixels >= SHARES * SHARE_PIXELS:
            yield gathered
            gathered, pixels = [], 0
    if gathered:
        yield gathered


def make_shared(context: BaseContext) -> tuple[Any, Any]:
    """Return the lock and the semaphore of a room that several processes share, for `share_room` in each of them."""
    return context.Lock(), context.Semaphore(SHARES)


def share_room(turn: Any, shares: Any) -> None:
    """Use the room that other processes use."""
    ROOM.turn, ROOM.shares = turn, shares
