"""Files in the format of MNIST's, written as the format's description says."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def encode_idx(array: NDArray[np.uint8]) -> bytes:
    """Return the content of an IDX file."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(
    folder: Path, prefix: str, images: NDArray[np.uint8], labels: NDArray[np.uint8], *, zipped: bool = False
) -> None:
    """Write the images (n, height, width) and labels (n,) of a part, "train" or "t10k"."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        content = encode_idx(array)
        suffix = ".gz" if zipped else ""
        (folder / f"{prefix}-{name}-ubyte{suffix}").write_bytes(gzip.compress(content) if zipped else content)
