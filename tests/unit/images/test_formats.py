from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from triptych.errors import UnreadableImageError
from triptych.images.decoding import IMAGE_SUFFIXES, decode_image
from triptych.images.formats import FORMATS, list_formats

SQUARE = Image.new("RGB", (16, 16), (200, 40, 40))


@pytest.mark.parametrize("written", list_formats())
def test_every_format_is_read_by_its_content_under_any_name(written: str, tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    SQUARE.save(file, format=written)
    pixels = decode_image(file)
    assert pixels.shape == (16, 16, 3)
    assert abs(pixels.astype(int) - (200, 40, 40)).max() <= 6


def test_the_endings_are_those_of_the_formats_in_lower_case() -> None:
    assert {".jpg", ".jfif", ".jpe", ".gif", ".pbm", ".pnm", ".jp2", ".avif", ".mpo", ".tif"} <= set(IMAGE_SUFFIXES)
    assert len(set(IMAGE_SUFFIXES)) == len(IMAGE_SUFFIXES)
    assert all(suffix == suffix.lower() for suffix in IMAGE_SUFFIXES)
    opened_by_a_program = {".eps", ".ps", ".wmf", ".emf", ".psd", ".fits", ".h5", ".grib"}
    assert not opened_by_a_program & set(IMAGE_SUFFIXES)


def test_what_phones_write_with_two_pictures_is_the_first_of_them(tmp_path: Path) -> None:
    SQUARE.save(tmp_path / "two.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert decode_image(tmp_path / "two.jpg").shape == (16, 16, 3)


OTHERS = {
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n",
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "JPEG XL": b"\xff\x0a\xfa\x1f\x41\x91",
    "a video": b"\0\0\0\x18ftypmp42\0\0\0\0",
    "Photoshop": b"8BPS\0\1\0\0\0\0\0\0\0\3\0\0\0\x10\0\0\0\x10\0\x08\0\3",
    "a web page": b"<!DOCTYPE html><title>404</title>",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "numbers": b"SIMPLE  =                    T" + b" " * 50,
    "unusual pixels": b"II*\0\x08\0\0\0\0\0",
    "DICOM": b"\0" * 128 + b"DICM",
    "damaged, or none of JPEG": b"nothing that anybody knows",
    "empty": b"",
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_format_is_refused_by_name_and_no_program_is_started(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho 10.0 >> {tmp_path / 'started'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    file = tmp_path / "photo.jpg"
    file.write_bytes(OTHERS[name])
    with pytest.raises(UnreadableImageError, match=rf"photo\.jpg cannot be read \(.*{name}.*\): \w+") as refused:
        decode_image(file)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "started").exists()


def test_an_error_names_all_formats_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("nothing that anybody knows")
    with pytest.raises(UnreadableImageError, match=", ".join(FORMATS)):
        decode_image(tmp_path / "x.png")
