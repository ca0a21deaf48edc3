"""Boards that are prepared only once by a command: when it checks its inputs, and not again in its flow.

A flow run that is started by a worker, not by a command, prepares its boards itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from triptych.config.schema import BoardConfig
from triptych.data.boards import PreparedBoard, prepare_board

# The boards by configuration, as JSON; None outside of the block. In a long-lived process the files may change from one
# flow run to the next.
_prepared: ContextVar[dict[str, PreparedBoard] | None] = ContextVar("prepared", default=None)


@contextmanager
def boards_prepared_once() -> Iterator[None]:
    """Make `prepare_once` remember its boards while the block runs."""
    token = _prepared.set({})
    try:
        yield
    finally:
        _prepared.reset(token)


def prepare_once(config: BoardConfig, on_image: Callable[[int, int], None] = lambda done, total: None) -> PreparedBoard:
    """Return `prepare_board`, or the board that was prepared earlier inside the same `boards_prepared_once` block.

    Args:
        config: the board's configuration.
        on_image: called with the number of images checked so far and their total.

    Raises:
        ConfigError: a panel chooses something on the validation set, which is empty.
        DataError: the data set is missing, damaged or cannot be split.
    """
    prepared = _prepared.get()
    if prepared is None:
        return prepare_board(config, on_image)
    key = config.model_dump_json()
    if key not in prepared:
        prepared[key] = prepare_board(config, on_image)
    return prepared[key]
