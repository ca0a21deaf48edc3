"""How many images are embedded when a data set of 1,002 images grows, is renamed or shrinks."""

from __future__ import annotations

import os
import tempfile

import numpy as np
from measure import Figure

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


def measure_additions(section: str) -> list[Figure]:
    """Embed noise with the bundled network; change the data set, and count what is embedded again."""
    backbone = load_backbone("shufflenet_v2_x0_5", "bundled")
    noise = np.random.default_rng(0).integers(0, 256, size=(IMAGES + 1, 28, 28, 1), dtype=np.uint8)
    figures = []
    for change, (indices, most) in CHANGES.items():
        with tempfile.TemporaryDirectory() as folder:
            before = os.environ.get("TRIPTYCH_CACHE_HOME")
            os.environ["TRIPTYCH_CACHE_HOME"] = folder
            for wanted in (np.arange(IMAGES), indices):
                [record] = store_embeddings([backbone], ArrayImages(noise[wanted]), batch_size=32, threads=1)
            if before is not None:
                os.environ["TRIPTYCH_CACHE_HOME"] = before
        computed = record.computed_images
        figures.append(
            Figure(
                section, f"embedded of {IMAGES} images after {change}", computed, computed, computed, most, at_most=True
            )
        )
    return figures
