"""Folders of small image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_photos(folder: Path, classes: dict[str, int], seed: int = 0) -> Path:
    """Write JPEG files of several sizes: those of the first class are reddish, of the second greenish, and so on."""
    rng = np.random.default_rng(seed)
    for channel, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            height, width = rng.integers(40, 80, size=2)
            pixels = rng.integers(0, 100, size=(height, width, 3), dtype=np.uint8)
            pixels[:, :, channel % 3] += 100
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")
    return folder
