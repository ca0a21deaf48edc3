"""The data of the benchmarks: MNIST if it is available, else noise of the same shape; photos and weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from triptych.config.resolve import resolve_config
from triptych.data.boards import load_board, prepare_board
from triptych.errors import DataError
from triptych.images.pixels import scale_pixels
from triptych.networks.minibatches import Examples
from triptych.system.paths import data_homes

SHAPE, CLASSES = (70_000, 784), 10


def load_examples() -> tuple[Examples, Examples, str]:
    """Return 49,000 training examples, 21,000 test examples, and a description of the data."""
    try:
        data = load_board(prepare_board(resolve_config("report", panels=["numpy-mlp"]).boards[0]))
    except DataError:
        rng = np.random.default_rng(0)
        rows = rng.uniform(-1.0, 1.0, size=SHAPE).astype(np.float32)
        labels = rng.integers(0, CLASSES, size=len(rows))
        return Examples(rows[:49_000], labels[:49_000]), Examples(rows[49_000:], labels[49_000:]), "noise"
    parts = [
        Examples(scale_pixels(data.pixels[indices]), data.labels[indices])
        for indices in (data.split.train, data.split.test)
    ]
    return parts[0], parts[1], "real MNIST"


def find_photos() -> tuple[Path, Path]:
    """Return the folder of the ants and bees, and the file of MobileNetV2's weights, in a data home."""
    for home in data_homes():
        photos, weights = home / "hymenoptera", sorted((home / "weights").glob("mobilenet_v2*.pth"))
        if photos.is_dir() and weights:
            return photos, weights[0]
    raise SystemExit("TRIPTYCH_DATA_HOME names no folder with hymenoptera/ and weights/mobilenet_v2*.pth")
