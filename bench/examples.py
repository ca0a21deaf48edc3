"""What the MLPs are measured on: the real MNIST where it is at hand, else noise of the same shape."""

from __future__ import annotations

import numpy as np

from triptych.boards import load_board, prepare_board
from triptych.config import resolve_config
from triptych.errors import DataError
from triptych.images import scale_pixels
from triptych.training import Examples

SHAPE, CLASSES = (70_000, 784), 10


def load_examples() -> tuple[Examples, Examples, str]:
    """Return 49,000 training and 21,000 test examples, and what they are."""
    try:
        board = load_board(prepare_board(resolve_config("report", panels=["numpy-mlp"]).boards[0]))
    except DataError:
        rng = np.random.default_rng(0)
        rows = rng.uniform(-1.0, 1.0, size=SHAPE).astype(np.float32)
        labels = rng.integers(0, CLASSES, size=len(rows))
        return Examples(rows[:49_000], labels[:49_000]), Examples(rows[49_000:], labels[49_000:]), "noise"
    parts = [
        Examples(scale_pixels(board.pixels[indices]), board.labels[indices])
        for indices in (board.split.train, board.split.test)
    ]
    return parts[0], parts[1], "real MNIST"
