"""The image formats that are read, the endings of their files, and what to do about files in other formats."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from PIL import Image

# Pillow's name of each format, and the endings that its files have. Others are not opened, whatever a file is called:
# Pillow starts Ghostscript for PostScript, and has readers for rare formats that hardly anybody tests.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "AVIF": (".avif",),
}
# What Pillow does not import by itself; `Image.init` would import all of its readers, in a tenth of a second.
LATER_PLUGINS = ("TiffImagePlugin", "WebPImagePlugin", "Jpeg2KImagePlugin", "AvifImagePlugin")
# Lower-case endings of the files that a folder's images are looked for in; what a file is, its content decides.
IMAGE_SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)

REPLACE = "replace or remove the file"
AS_JPEG = "convert it to JPEG or PNG"
AS_PLAIN = "save it as PNG with 8 bits"
AGAIN = "download it again"
HEADER_BYTES = 32
# What begins like this, from a byte on, is a file in another format: what it is, and the remedy.
OTHERS: tuple[tuple[int, tuple[bytes, ...], str, str], ...] = (
    (4, (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"), "it is HEIC, as iPhones save", AS_JPEG),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL "), "it is JPEG XL", AS_JPEG),
    (4, (b"ftyp",), "it is a video", "save its frames as JPEG"),
    (0, (b"%!PS", b"\xc5\xd0\xd3\xc6"), "it is PostScript", AS_JPEG),
    (0, (b"%PDF",), "it is a PDF", "save its pages as PNG"),
    (0, (b"8BPS",), "it is a Photoshop file", AS_JPEG),
    (0, (b"\0\0\1\0",), "it is an icon", AS_JPEG),
    (0, (b"SIMPLE  =", b"\x89HDF", b"\x93NUMPY"), "it holds numbers, not a picture", AS_PLAIN),
    (128, (b"DICM",), "it is DICOM", AS_PLAIN),
    (0, (b"version https://git-lfs",), "it is a pointer of Git LFS, not the file itself", "run `git lfs pull`"),
    (0, (b"<svg", b"<?xml"), "it is SVG or XML", "convert it to PNG"),
    (0, (b"<!doctype", b"<!DOCTYPE", b"<html", b"<HTML"), "it is a web page, as of a failed download", AGAIN),
    (0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "it is a TIFF that is damaged, or has unusual pixels", AS_PLAIN),
    (0, (b"PK\x03\x04",), "it is a zip archive", "unpack it"),
)


@cache
def list_formats() -> list[str]:
    """Return the rows of `FORMATS` that the installed Pillow has."""
    Image.preinit()
    for plugin in LATER_PLUGINS:
        with suppress(ImportError):
            import_module(f"PIL.{plugin}")
    return [name for name in FORMATS if name in Image.OPEN]


def explain_format(file: Path) -> tuple[str, str]:
    """Return what a file is that none of the readers knows, and the remedy, by its first bytes alone."""
    with file.open("rb") as opened:
        start = opened.read(128 + HEADER_BYTES)
    if not start:
        return "the file is empty", REPLACE
    for first, words, reason, remedy in OTHERS:
        if start.startswith(words, first):
            return reason, remedy
    return f"it is damaged, or none of {', '.join(FORMATS)}", REPLACE
