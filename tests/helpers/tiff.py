"""TIFF files as Pillow does not write them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS = 256, 257, 258, 259, 262, 273
ORIENTATION, SAMPLES, ROWS, COUNTS, PLANES, SAMPLE_FORMAT = 274, 277, 278, 279, 284, 339
DEFLATE, SEPARATE = 8, 2


def write_tiff(
    pixels: NDArray[Any], tags: Mapping[int, int], order: Literal["<", ">"] = "<", content: bytes | None = None
) -> bytes:
    """Return a TIFF of pixels (height, width) or (height, width, channels), with these tags in place of the usual.

    Args:
        pixels: of any whole type.
        tags: by number; with `SEPARATE` planes, the channels follow one another.
        order: of the bytes, "<" or ">".
        content: the bytes of the pixels, if they are packed otherwise.
    """
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    ordered = pixels.astype(pixels.dtype.newbyteorder(order))
    planes = [ordered]
    if tags.get(PLANES) == SEPARATE and channels > 1:
        planes = [ordered[..., channel] for channel in range(channels)]
    parts = [plane.tobytes() for plane in planes] if content is None else [content]
    if tags.get(COMPRESSION) == DEFLATE:
        parts = [zlib.compress(part) for part in parts]
    height, width = pixels.shape[:2]
    usual = {WIDTH: width, LENGTH: height, BITS: 8 * pixels.itemsize, COMPRESSION: 1, PHOTOMETRIC: 1, SAMPLES: channels}
    values = {number: [value] for number, value in {**usual, ROWS: height, PLANES: 1, **tags}.items()}
    values[BITS] *= channels
    starts = np.cumsum([8, *map(len, parts)]).tolist()
    values |= {OFFSETS: starts[:-1], COUNTS: [len(part) for part in parts]}
    return _join(values, b"".join(parts), order)


def _join(values: dict[int, list[int]], body: bytes, order: str) -> bytes:
    """Return a TIFF of tags and pixels; every tag is a list of 32-bit numbers."""
    start = 8 + len(body)
    overflow, entries = start + 2 + 12 * len(values) + 4, b""
    longer = b""
    for number, numbers in sorted(values.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            packed, longer = struct.pack(f"{order}I", overflow + len(longer)), longer + packed
        entries += struct.pack(f"{order}HHI", number, 4, len(numbers)) + packed
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return header + body + struct.pack(f"{order}H", len(values)) + entries + struct.pack(f"{order}I", 0) + longer
