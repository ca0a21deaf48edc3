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


def draw_scene(seed: int, height: int = 240, width: int = 320) -> Image.Image:
    """Return a picture with large forms, as a photo has, unlike noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(12, 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_scenes(folder: Path) -> Path:
    """Write a train and a test set of two classes, `a` and `b`: 25 scenes, no two of which look alike.

    The default seed of the split takes some of both classes from train for validation.
    """
    for number in range(25):
        place = folder / ("test" if number % 4 == 0 else "train") / "ab"[number % 2 or number == 24]
        place.mkdir(parents=True, exist_ok=True)
        draw_scene(125 + number).save(place / f"{number:02}.png", compress_level=1)
    return folder


def make_layout(folder: Path, names: str) -> Path:
    """Write a small picture for each name, such as `ants/1`; one with an ending is a file of another kind."""
    for number, name in enumerate(names.split()):
        file = folder / (name if Path(name).suffix in {".csv", ".zip", ".npz", ".heic"} else f"{name}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(file, format="PNG")
    return folder
