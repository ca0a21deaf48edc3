"""Images decoded, resized and cut out ahead of the network that waits for them."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from triptych.images.decoding import decode_image
from triptych.images.pixels import Pixels
from triptych.images.preprocessing import Preprocessing
from triptych.images.sources import ImageSource
from triptych.system.threads import count_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
# Pillow lets other threads run while it decodes and resizes, so that a few threads do as well as processes; what
# they do in between is Python, which runs in one thread at a time and holds up the network on a large machine.
CORES_WORTH_PROCESSES = 4
# Processes take a moment to start.
FILES_WORTH_PROCESSES = 500
# Images that are decoded before the network asks for them, for each reader: enough to smooth out large photos.
AHEAD = 32


def crop_image(image: Path | Pixels, preprocessing: Preprocessing) -> Pixels:
    """Return an image, decoded if it is a file, as the network takes it: (crop, crop, 3) uint8."""
    return preprocessing.crop(decode_image(image) if isinstance(image, Path) else image)


def describe_readers(images: ImageSource, wanted: int) -> str:
    """Return how `open_readers` will read some images, for the log."""
    kind = "processes" if _takes_processes(images, wanted) else "threads"
    return f"{count_cores()} {kind}"


@contextmanager
def open_readers(images: ImageSource, wanted: int) -> Iterator[Executor]:
    """Start what decodes: processes for many files on a machine with many cores, else threads.

    Args:
        images: the raw images.
        wanted: how many of them will be read.
    """
    if _takes_processes(images, wanted):
        # Not forked from this process: its threads hold locks that a copy would wait for forever.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        pool: Executor = ProcessPoolExecutor(count_cores(), mp_context=context)
    else:
        pool = ThreadPoolExecutor(count_cores())
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _takes_processes(images: ImageSource, wanted: int) -> bool:
    # A process that is a daemon, such as a worker of Dask, may not start others.
    able = "forkserver" in multiprocessing.get_all_start_methods() and not multiprocessing.current_process().daemon
    in_files = isinstance(images.locate(0), Path) if wanted else False
    return able and in_files and wanted >= FILES_WORTH_PROCESSES and count_cores() >= CORES_WORTH_PROCESSES


def map_ahead(
    begin: Callable[[Item], Future[Result]], items: Iterable[Item], ahead: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in order, while the next ones are worked on, and no further ones.

    Args:
        begin: starts the work on an item.
        items: what is to be worked on; taken only when its turn comes.
        ahead: how many items are worked on at once.
    """
    rest = iter(items)
    waiting = deque((item, begin(item)) for item in islice(rest, ahead))
    while waiting:
        item, future = waiting.popleft()
        result = future.result()
        waiting.extend((following, begin(following)) for following in islice(rest, 1))
        yield item, result


# Batches that are read before they are wanted.
BATCHES_AHEAD = 2


def read_ahead(load: Callable[[int], Pixels], batches: Iterable[NDArray[np.int64]], threads: int) -> Iterator[Pixels]:
    """Yield the images of each batch, (batch, height, width, 3) uint8.

    Args:
        load: returns the image of an index, (height, width, 3) uint8; called in several threads.
        batches: the indices of each batch, (batch,) int64.
        threads: how many images are read at once.
    """
    pool = ThreadPoolExecutor(threads)
    ahead: deque[list[Future[Pixels]]] = deque()
    try:
        for batch in batches:
            ahead.append([pool.submit(load, index) for index in batch.tolist()])
            if len(ahead) > BATCHES_AHEAD:
                yield _stack(ahead.popleft())
        while ahead:
            yield _stack(ahead.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _stack(futures: list[Future[Pixels]]) -> Pixels:
    return np.stack([future.result() for future in futures])
