"""How many images are embedded and decoded when a data set of 1,002 images grows, is renamed or shrinks."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from measure import Figure
from PIL import Image

from triptych.config.resolve import resolve_config
from triptych.data.boards import prepare_board
from triptych.images.sources import ArrayImages
from triptych.transfer.embed import store_embeddings
from triptych.transfer.weights import load_backbone

IMAGES = 1002
# The images of the data set after the change, of 1,003, and how many are embedded at most.
CHANGES = {
    "one is added first": (np.r_[IMAGES, :IMAGES], 1),
    "one is renamed": (np.r_[1:IMAGES, 0], 0),
    "one is removed": (np.r_[1:IMAGES], 0),
}
# The same of a folder of photos, and how many are decoded at most.
FOLDER_CHANGES: dict[str, tuple[Callable[[Path], object], int]] = {
    "one is added first": (lambda folder: draw_photo(IMAGES).save(folder / "ants" / "+.jpg"), 1),
    "one is renamed": (lambda folder: (folder / "ants" / "0004.jpg").rename(folder / "ants" / "again.jpg"), 0),
    "one is moved to another class": (
        lambda folder: (folder / "ants" / "0008.jpg").rename(folder / "bees" / "+.jpg"),
        0,
    ),
    "one is removed": (lambda folder: (folder / "bees" / "0005.jpg").unlink(), 0),
}
# CPU time of preparing a folder again, one photo of which is new, to that of preparing it first.
AGAIN_TARGET = 0.2


@contextmanager
def own_cache() -> Iterator[Path]:
    """Use an empty cache while the block runs."""
    before = os.environ.get("TRIPTYCH_CACHE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRIPTYCH_CACHE_HOME"] = folder
        yield Path(folder)
    if before is not None:
        os.environ["TRIPTYCH_CACHE_HOME"] = before


def measure_additions(section: str) -> list[Figure]:
    """Embed noise with the bundled network; change the data set, and count what is embedded again."""
    backbone = load_backbone("shufflenet_v2_x0_5", "bundled")
    noise = np.random.default_rng(0).integers(0, 256, size=(IMAGES + 1, 28, 28, 1), dtype=np.uint8)
    figures = []
    for change, (indices, most) in CHANGES.items():
        with own_cache():
            for wanted in (np.arange(IMAGES), indices):
                [record] = store_embeddings([backbone], ArrayImages(noise[wanted]), batch_size=32, threads=1)
        computed = record.computed_images
        name = f"embedded of {IMAGES} images after {change}"
        figures.append(Figure(section, name, computed, computed, computed, most, at_most=True))
    return figures


def draw_photo(seed: int) -> Image.Image:
    """Return a picture of 400 x 300 pixels with large forms."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(12, 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((400, 300), Image.Resampling.BICUBIC)


def prepare_folder(folder: Path) -> tuple[int, float]:
    """Prepare a folder of photos; return how many were decoded, and the seconds of CPU time."""
    decoded: list[int] = []
    started = time.process_time()
    [board] = resolve_config("photos", data=str(folder)).boards
    prepare_board(board, lambda done, total: decoded.append(done))
    return len(decoded), time.process_time() - started


def measure_folder_changes(section: str) -> list[Figure]:
    """Prepare a folder of photos, each time in a new process; change it, and count what is decoded again."""
    figures = []
    with own_cache() as scratch, ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        folder = scratch / "photos"
        for number in range(IMAGES):
            file = folder / ("ants", "bees")[number % 2] / f"{number:04}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            draw_photo(number).save(file)
        _, first = processes.submit(prepare_folder, folder).result()
        for change, (apply, most) in FOLDER_CHANGES.items():
            apply(folder)
            decoded, seconds = processes.submit(prepare_folder, folder).result()
            name = f"decoded of {IMAGES} photos after {change}"
            figures.append(Figure(section, name, decoded, decoded, decoded, most, at_most=True))
            if most:
                ratio = seconds / first
                name = "CPU time of preparing 1,002 photos and a new one / of preparing them first"
                figures.append(Figure(section, name, ratio, ratio, ratio, AGAIN_TARGET, at_most=True))
    return figures
