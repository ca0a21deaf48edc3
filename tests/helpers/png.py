"""PNG files as Pillow does not write them."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

GREY, COLOUR = 0, 2


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk with its length and its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def write_png(pixels: NDArray[np.uint16], bits: int, transparent: NDArray[np.uint16] | None = None) -> bytes:
    """Return a PNG of pixels (height, width, 1 or 3) with 1 to 16 bits a channel.

    Args:
        pixels: the values, below 2**bits.
        bits: of a channel.
        transparent: the value, (1 or 3,), that is transparent, if any is.
    """
    height, width, channels = pixels.shape
    spread = (pixels.reshape(height, -1, 1) >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(spread.reshape(height, -1).astype(np.uint8), axis=1)
    content = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">2I5B", width, height, bits, GREY if channels == 1 else COLOUR, 0, 0, 0)
    chunks = [chunk(b"IHDR", header)]
    if transparent is not None:
        chunks.append(chunk(b"tRNS", transparent.astype(">u2").tobytes()))
    return b"\x89PNG\r\n\x1a\n" + b"".join([*chunks, chunk(b"IDAT", zlib.compress(content)), chunk(b"IEND", b"")])
