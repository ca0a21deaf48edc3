"""Boards that are prepared once in a process: by the command line when it checks them, then found by its flow.

A flow run that a worker starts has no command line before it, and prepares its boards itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from triptych.config.schema import BoardConfig
from triptych.data.boards import PreparedBoard, prepare_board

# By configuration, as JSON. There is none outside of the block: what lies on disk may change from one flow run to the
# next of a long-lived process.
_prepared: ContextVar[dict[str, PreparedBoard] | None] = ContextVar("prepared", default=None)


@contextmanager
def boards_prepared_once() -> Iterator[None]:
    """Let `prepare_once` remember its boards while the block runs."""
    token = _prepared.set({})
    try:
        yield
    finally:
        _prepared.reset(token)


def prepare_once(config: BoardConfig, on_image: Callable[[int, int], None] = lambda done, total: None) -> PreparedBoard:
    """Prepare a board as `prepare_board` does, or return it if the same block has prepared it before.

    Args:
        config: the board's configuration.
        on_image: called with the number of images checked and the number of all.

    Raises:
        DataError: the data set is missing, damaged or cannot be split.
    """
    prepared = _prepared.get()
    if prepared is None:
        return prepare_board(config, on_image)
    name = config.model_dump_json()
    if name not in prepared:
        prepared[name] = prepare_board(config, on_image)
    return prepared[name]
