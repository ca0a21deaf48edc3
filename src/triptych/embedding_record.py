"""Where stored embeddings lie; known to those who hand it on without importing PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]


@dataclass(frozen=True)
class EmbeddingRecord:
    """What tasks hand each other about stored embeddings.

    Attributes:
        shards: the files, in order of the images.
        backbone_digest: SHA-256 of the frozen network's state before anything was computed.
        images: number of images.
        computed_images: how many of them were computed now; the rest was found in the store.
        seconds: duration of finding and computing.
    """

    shards: tuple[Path, ...]
    backbone_digest: str
    images: int
    computed_images: int
    seconds: float


def load_embeddings(record: EmbeddingRecord) -> Embeddings:
    """Return the stored embeddings, (n, dimension) float32, in order of the images."""
    return np.concatenate([np.load(shard, mmap_mode="r") for shard in record.shards])
