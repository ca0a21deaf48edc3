"""What the files of the embedding store hold; imports no PyTorch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.data.shards.files import Identities, Layout, write_rows

# For each row of a file the SHA-256 of the image and of its embedding.
MARK = np.dtype([("identity", "S32"), ("content", "S32")])


def lay_out(dimension: int) -> Layout:
    """Return what a file of embeddings of some length holds."""
    return Layout((dimension,), np.dtype(np.float32), MARK)


def write_shard(file: Path, identities: Identities, rows: NDArray[np.float32]) -> None:
    """Write embeddings, whose they are, and a checksum.

    Args:
        file: its path.
        identities: (n,) "S32", the SHA-256 of each image.
        rows: (n, dimension) float32.

    Raises:
        StorageError: there is no room, no permission, or something else in the way.
    """
    marks = np.empty(len(rows), dtype=MARK)
    marks["identity"] = identities
    marks["content"] = [hashlib.sha256(row.tobytes()).digest() for row in rows]
    write_rows(file, marks, rows)
