from __future__ import annotations

import struct
import zlib
from pathlib import Path

from PIL import Image

from triptych.data.checks.inspection import inspect_file
from triptych.images.decoding import decode_image


def test_sixteen_bits_of_colour_are_known_although_pillow_shows_eight(tmp_path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    row = b"\0" + struct.pack(">3H", 0x80FF, 0, 0xFFFF)
    header = struct.pack(">2I5B", 1, 1, 16, 2, 0, 0, 0)
    content = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row)), chunk(b"IEND", b"")]
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))
    assert inspect_file(tmp_path / "deep.png").traits == ("sixteen_bits", "one_colour")
    assert decode_image(tmp_path / "deep.png").tolist() == [[[0x80, 0, 0xFF]]]


def test_a_damaged_second_page_does_not_keep_the_first_from_being_read(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert inspect_file(tmp_path / "pages.tif").traits == ("several_pictures", "one_colour")
    content = (tmp_path / "pages.tif").read_bytes()
    second = content.index(b"\0\0\xff", 100)  # where the blue pixels begin: the tags of the page follow them
    (tmp_path / "pages.tif").write_bytes(content[:second] + b"\0" * (len(content) - second))
    assert inspect_file(tmp_path / "pages.tif").problem == ""
    assert decode_image(tmp_path / "pages.tif")[0, 0].tolist() == [255, 0, 0]
