"""Photo sets of ten and more classes for measurements, made of the ants and bees and of MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SCENES, CROPS, DIGITS, SIDE = 16, 60, 1500, 128


def draw_crop(photo: Image.Image, rng: np.random.Generator, share: float) -> Image.Image:
    """Return a random square of a photo, a share of its shorter side long, mirrored half of the time."""
    side = int(min(photo.size) * share)
    left, top = (int(rng.integers(0, length - side + 1)) for length in photo.size)
    crop = photo.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop


def write_scenes(folder: Path, photos: list[Path]) -> None:
    """Write random crops of sixteen photos to one folder for each: a class is the photo that a crop is from."""
    rng = np.random.default_rng(0)
    for number, file in enumerate(photos[:: len(photos) // SCENES][:SCENES]):
        (folder / f"scene {number:02}").mkdir(parents=True)
        photo = Image.open(file).convert("RGB")
        for crop in range(CROPS):
            share = rng.uniform(0.25, 0.6)
            draw_crop(photo, rng, share).save(folder / f"scene {number:02}" / f"{crop:02}.jpg")


def write_digits_on_photos(folder: Path, files: list[Path], pixels: Any, labels: NDArray[np.int64]) -> None:
    """Write digits on squares of photos, after MNIST-M (Ganin and Lempitsky 2015): the difference of both.

    Args:
        folder: where to write, one folder for each class.
        files: the photos.
        pixels: (n, 28, 28, 1) uint8, the digits.
        labels: (n,) int64, their classes.
    """
    rng = np.random.default_rng(0)
    photos = [Image.open(file).convert("RGB") for file in files[::8]]
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
    for number in range(DIGITS):
        crop = draw_crop(photos[int(rng.integers(len(photos)))], rng, 0.4)
        drawn = Image.fromarray(pixels[number, ..., 0]).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        blended = np.abs(np.asarray(crop, dtype=np.int16) - np.asarray(drawn, dtype=np.int16)[..., None])
        Image.fromarray(blended.astype(np.uint8)).save(folder / str(labels[number]) / f"{number:04}.jpg")


def write_digits_on_paper(folder: Path, pixels: Any, labels: NDArray[np.int64]) -> None:
    """Write digits as photographed sheets of paper: ink on paper of some colour, turned a little, under uneven light.

    Args:
        folder: where to write, one folder for each class.
        pixels: (n, 28, 28, 1) uint8, the digits.
        labels: (n,) int64, their classes.
    """
    rng = np.random.default_rng(0)
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
    for number in range(DIGITS):
        drawn = Image.fromarray(pixels[number, ..., 0]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        strokes = np.asarray(drawn.rotate(rng.uniform(-8, 8), Image.Resampling.BILINEAR))[..., None] / 255
        paper, ink = rng.uniform(170, 250, 3), rng.uniform(0, 80, 3)
        light = np.linspace(1.0, rng.uniform(0.7, 1.0), SIDE)[:, None, None]
        photo = light * (paper * (1 - strokes) + ink * strokes) + rng.normal(0.0, 4.0, (SIDE, SIDE, 3))
        Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(folder / str(labels[number]) / f"{number:04}.jpg")
