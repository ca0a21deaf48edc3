"""Bursts of photos: how far a comparison is fooled if their frames are divided between train and test.

132 photos become bursts of five frames each, which differ as frames of a hand-held camera do: cropped by a few pixels,
a little brighter or darker, with noise, and compressed more or less. Labels are drawn at random for each photo, so that
an accuracy of 0.5 is the truth; they are drawn often, for a mean without their noise. The nearest neighbour of a
thumbnail is enough to recognise another frame of a burst.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
from measure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from sklearn.neighbors import NearestNeighbors

from triptych.config.schema import BoardConfig
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.data.checks.examine import examine
from triptych.images.sources import FileImages

PHOTOS, FRAMES, LABELLINGS = 132, 5, 200
LONGEST_PIXELS = 240
# Each side is cropped by up to so many pixels; noise is in grey levels.
CROPPED_PIXELS, BRIGHTNESS, NOISE_LEVELS, JPEG_QUALITY = 6, (0.85, 1.15), 4.0, (50, 96)
CLASSES = ("heads", "tails")
SECTION, MANY_DRAWS = "trust", 1000


def measure_bursts(photos: Sequence[Image.Image], folder: Path, seeds: Sequence[int] = range(3)) -> dict[str, Any]:
    """Write bursts of photos; return the accuracies with and without groups, and the share of bursts that are found.

    Args:
        photos: one of each burst.
        folder: an empty folder to write to.
        seeds: of the frames, the labels and the split: one set of bursts for each.

    Returns:
        Means over the seeds: `grouped_accuracy` and `ungrouped_accuracy`; `found_by_check`, the share of bursts whose
        frames, all of them and no others, are a group of `check`; and `groups`, how many a comparison makes of them.
    """
    rows = [_measure_once(photos, folder / f"photos-{seed}", seed) for seed in seeds]
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}


def _measure_once(photos: Sequence[Image.Image], folder: Path, seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    write_bursts(photos, folder, rng)
    row = {"found_by_check": _count_whole(_list_checked(folder)) / len(photos)}
    for name, group_by in (("ungrouped", "none"), ("grouped", "similar")):
        config = {"data": {"source": str(folder)}, "split": {"group_by": group_by, "seed": seed}}
        data = load_board(prepare_board(BoardConfig.model_validate(config)))
        row[f"{name}_accuracy"] = _classify(data, len(photos), rng)
        if data.groups is not None:
            row["groups"] = float(len(np.unique(data.groups)))
    return row


def _classify(data: BoardData, photos: int, rng: np.random.Generator) -> float:
    """Return the accuracy of the nearest neighbour on the test set, the mean over many draws of the photos' labels."""
    files = cast("FileImages", data.images).files
    photo_of = np.array([int(file.name.partition("-")[0]) for file in files])
    rows, test = np.asarray(data.pixels).reshape(len(data.labels), -1), data.split.test
    known = np.concatenate([data.split.train, data.split.validation])
    nearest = NearestNeighbors(n_neighbors=1).fit(rows[known]).kneighbors(rows[test], return_distance=False)[:, 0]
    labels = np.array([draw_labels(photos, rng) for _ in range(LABELLINGS)])  # (labellings, photos)
    return float((labels[:, photo_of[test]] == labels[:, photo_of[known[nearest]]]).mean())


def draw_labels(photos: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a label for each photo, (photos,) int64, half of them 0 and half 1."""
    return rng.permutation(np.arange(photos) % len(CLASSES))


def write_bursts(photos: Sequence[Image.Image], folder: Path, rng: np.random.Generator) -> None:
    """Write five frames of each photo to the folder of a class that is drawn for the photo."""
    for number, (photo, label) in enumerate(zip(photos, draw_labels(len(photos), rng).tolist(), strict=True)):
        place = folder / CLASSES[label]
        place.mkdir(parents=True, exist_ok=True)
        for frame in range(FRAMES):
            (place / f"{number:03}-{frame}.jpg").write_bytes(_take(photo, rng))


def _take(photo: Image.Image, rng: np.random.Generator) -> bytes:
    """Return one frame of a photo as a JPEG file."""
    left, top, right, bottom = rng.integers(0, CROPPED_PIXELS + 1, size=4).tolist()
    cropped = photo.crop((left, top, photo.width - right, photo.height - bottom))
    lit = np.asarray(ImageEnhance.Brightness(cropped).enhance(rng.uniform(*BRIGHTNESS)), dtype=np.float64)
    noisy = np.clip(lit + rng.normal(0.0, NOISE_LEVELS, lit.shape), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=int(rng.integers(*JPEG_QUALITY)))
    return stream.getvalue()


def _list_checked(folder: Path) -> list[list[str]]:
    """Return the names of the images in each group that `triptych check` finds."""
    found = [finding for finding in examine(str(folder)).findings if finding.kind in {"similar", "similar_in_parts"}]
    return [[image.name for image in example.images] for finding in found for example in finding.examples]


def _count_whole(groups: Sequence[Sequence[str]]) -> int:
    """Return how many groups are the frames of one burst, all of them and no others."""
    bursts = [{Path(name).name.partition("-")[0] for name in group} for group in groups]
    return sum(len(group) == FRAMES and len(burst) == 1 for group, burst in zip(groups, bursts, strict=True))


def load_photos(home: Path, most: int = PHOTOS) -> list[Image.Image]:
    """Return photos of insects from the data home: every third one, of both classes."""
    photos = [Image.open(file).convert("RGB") for file in sorted((home / "hymenoptera").rglob("*.jpg"))[::3][:most]]
    for photo in photos:
        photo.thumbnail((LONGEST_PIXELS, LONGEST_PIXELS))
    return photos


def simulate_bursts(draws: int, seed: int = 0) -> list[Figure]:
    """Make bursts of real photos, in several ways where much is drawn; without photos there are no figures."""
    home = Path(os.environ.get("TRIPTYCH_DATA_HOME", ""), "hymenoptera")
    if not home.is_dir():
        print(f"no bursts: {home} is not a folder, set TRIPTYCH_DATA_HOME to that of PyTorch's tutorial on transfer")
        return []
    seeds = range(seed, seed + (3 if draws >= MANY_DRAWS else 1))
    with TemporaryDirectory() as scratch:
        os.environ["TRIPTYCH_CACHE_HOME"] = f"{scratch}/cache"
        found = measure_bursts(load_photos(home.parent), Path(scratch), seeds)
    grouped, whole = found["grouped_accuracy"], found["found_by_check"]
    name = f"{PHOTOS} photos x {FRAMES} frames, labels by chance"
    accuracy = partial(Figure, SECTION, value=grouped, min=grouped, max=grouped, seed=seed)
    return [
        accuracy(figure=f"{name}: accuracy with group_by=similar, at most", target=0.56, at_most=True),
        accuracy(figure=f"{name}: accuracy with group_by=similar, at least", target=0.44),
        Figure(SECTION, f"{name}: bursts that check finds whole", whole, whole, whole, 0.9, seed=seed),
    ]
