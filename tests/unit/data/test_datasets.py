from __future__ import annotations

from pathlib import Path

from helpers.photos import write_photos
from triptych.data.datasets import fetch_dataset


def test_the_digest_follows_every_byte_of_the_data(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", {"a": 3, "b": 3})
    before = fetch_dataset(f"folder:{folder}").digest
    assert fetch_dataset(f"folder:{folder}").digest == before
    file = folder / "a" / "0.jpg"
    file.write_bytes(file.read_bytes() + b"\0")
    assert fetch_dataset(f"folder:{folder}").digest != before
