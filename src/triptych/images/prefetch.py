"""Reading images before the network needs them, in threads or processes."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from triptych.images.pixels import Pixels
from triptych.images.preprocessing import Preprocessing
from triptych.images.room import make_shared, share_room
from triptych.images.sources import ImageFile, ImageSource
from triptych.system.threads import count_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
Pool = TypeVar("Pool", bound=Executor)
# With fewer cores, threads are as fast as processes: Pillow decodes and resizes without Python's global lock. With more
# cores, the Python code in between holds up the network, as only one thread at a time can run it.
CORES_WORTH_PROCESSES = 4
# With fewer files, the processes take longer to start than they save.
FILES_WORTH_PROCESSES = 500
# Images to read ahead per core: enough that a large photo holds nothing up.
AHEAD = 32
# Batches to load ahead.
BATCHES_AHEAD = 2


def crop_image(image: ImageFile | Pixels, preprocessing: Preprocessing) -> Pixels:
    """Return an image file or a raw image as the network takes it, resized and cropped: (crop, crop, 3) uint8."""
    return crop_each(image, [preprocessing])[0]


def crop_each(image: ImageFile | Pixels, preprocessings: Sequence[Preprocessing]) -> list[Pixels]:
    """Return an image file or a raw image as several networks take it, after decoding it once."""
    if not isinstance(image, ImageFile):
        return [one.crop(image) for one in preprocessings]
    with image.opened() as decoded:
        return [one.crop(decoded.pixels) for one in preprocessings]


def describe_readers(images: ImageSource, wanted: int) -> str:
    """Return how `open_readers` will read some images, for the log.

    Args:
        images: the raw images.
        wanted: how many of them will be read.
    """
    kind = "processes" if _takes_processes(images, wanted) else "threads"
    return f"{count_cores()} {kind}"


@contextmanager
def open_readers(images: ImageSource, wanted: int) -> Iterator[Executor]:
    """Start the pool that reads images: processes for many files on a machine with many cores, else threads.

    Args:
        images: the raw images.
        wanted: how many of them will be read.
    """
    if _takes_processes(images, wanted):
        # A fork of this process could wait forever for a lock that one of its threads holds.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        pool: Executor = ProcessPoolExecutor(
            count_cores(), mp_context=context, initializer=share_room, initargs=make_shared(context)
        )
    else:
        pool = ThreadPoolExecutor(count_cores())
    with _shut_down_early(pool):
        yield pool


@contextmanager
def _shut_down_early(pool: Pool) -> Iterator[Pool]:
    """Shut a pool down at the end of the block without doing the work that has not started."""
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _takes_processes(images: ImageSource, wanted: int) -> bool:
    # A daemon process, such as a worker of Dask, may not start others.
    able = "forkserver" in multiprocessing.get_all_start_methods() and not multiprocessing.current_process().daemon
    in_files = isinstance(images.locate(0), ImageFile) if wanted else False
    return able and in_files and wanted >= FILES_WORTH_PROCESSES and count_cores() >= CORES_WORTH_PROCESSES


def map_ahead(
    begin: Callable[[Item], Future[Result]], items: Iterable[Item], ahead: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in order, while the work on the next items goes on.

    Args:
        begin: starts the work on an item.
        items: the items; each is taken only when its work starts.
        ahead: how many items are worked on while the caller uses a result.

    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(map_ahead(lambda item: pool.submit(abs, item), [-3, 2], ahead=1))
    [(-3, 3), (2, 2)]
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    for item in items:
        waiting.append((item, begin(item)))
        if len(waiting) > ahead:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


def load_batches(
    load: Callable[[int], Pixels], batches: Sequence[NDArray[np.int64]], threads: int
) -> Generator[Pixels, None, None]:
    """Yield the images of each batch, (batch, height, width, 3) uint8, while the next batches are loaded.

    The threads end with the iterator; close it to end them before the last batch.

    Args:
        load: returns the image of an index, (height, width, 3) uint8; called in several threads.
        batches: the indices of each batch, (batch,) int64.
        threads: how many images are loaded at once.
    """
    indices = (index for batch in batches for index in batch.tolist())
    ahead = BATCHES_AHEAD * max(map(len, batches), default=0)
    with _shut_down_early(ThreadPoolExecutor(threads)) as pool:
        images = (image for _, image in map_ahead(lambda index: pool.submit(load, index), indices, ahead))
        for batch in batches:
            yield np.stack(list(islice(images, len(batch))))
