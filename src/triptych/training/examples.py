"""Images as examples of a training, read ahead in threads batch by batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.boards import Board
from triptych.images.pixels import ImageSource, Pixels
from triptych.networks.minibatches import Examples

# Batches that are read before they are wanted.
BATCHES_AHEAD = 2


@dataclass(frozen=True)
class ImageRows:
    """Some images of a data set, as the features of examples; nothing is decoded before it is asked for.

    Attributes:
        images: all raw images.
        indices: (n,) int64, the images that rows stand for.
    """

    images: ImageSource
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    def select(self, rows: NDArray[np.int64]) -> ImageRows:
        """Return the same for some of the images."""
        return replace(self, indices=self.indices[rows])


def select_parts(board: Board) -> tuple[Examples, Examples | None]:
    """Return the training and the validation images of a board; None where the validation part is empty."""
    rows: Any = ImageRows(board.images, np.arange(len(board.images)))
    train, validation = (
        Examples(rows.select(part), board.labels[part]) for part in (board.split.train, board.split.validation)
    )
    return train, validation if len(validation) else None


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
