from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.photos import write_photos
from triptych.errors import DataError
from triptych.images import sources
from triptych.images.prefetch import crop_image, load_batches
from triptych.images.preprocessing import Preprocessing
from triptych.images.sources import FileImages, SelectedImages, read_state, require_unchanged
from triptych.system.checked import hash_file

SMALL = Preprocessing(36, 32, (0.5,) * 3, (0.25,) * 3, "bilinear")
CHANGED = r"a/1\.jpg was changed after its data set was read: run the same command again"


@pytest.fixture
def images(tmp_path: Path) -> FileImages:
    """Four photos, as they are when a data set is read."""
    files = tuple(sorted(write_photos(tmp_path / "photos", {"a": 2, "b": 2}).rglob("*.jpg")))
    return FileImages(files, tuple(map(hash_file, files)), tuple(map(read_state, files)))


READERS: dict[str, Callable[[FileImages], object]] = {
    "thumbnails": lambda images: images.apply(1, np.sum),
    "raw": lambda images: images[1],
    "embedding": lambda images: crop_image(images.locate(1), SMALL),
    "fine-tuning": lambda images: list(load_batches(lambda row: images.apply(row, SMALL.crop), [np.arange(4)], 2)),
    "at the end": require_unchanged,
}


@pytest.mark.parametrize("name", READERS)
def test_a_photo_that_was_changed_is_read_by_nobody(name: str, images: FileImages) -> None:
    READERS[name](images)
    kept = images.files[1].read_bytes()
    images.files[1].write_bytes(images.files[2].read_bytes())
    with pytest.raises(DataError, match=CHANGED):
        READERS[name](images)
    images.files[1].write_bytes(kept)
    READERS[name](images)
    images.files[1].unlink()
    with pytest.raises(DataError, match=r"a/1\.jpg cannot be read \(No such file or directory\): restore it"):
        READERS[name](images)
    os.mkfifo(images.files[1])
    with pytest.raises(DataError, match=r"a/1\.jpg cannot be read \(it is no regular file\): restore it"):
        READERS[name](images)
    with pytest.raises(DataError, match=r"a/1\.jpg cannot be read \(it is no regular file\): replace"):
        FileImages(images.files)[1]


def test_a_photo_is_hashed_again_only_if_its_size_or_time_differ(
    images: FileImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def count(file: Path) -> bytes:
        hashed.append(file)
        return hash_file(file)

    monkeypatch.setattr(sources, "hash_file", count)
    for index in range(4):
        images.apply(index, np.sum)
    require_unchanged(images)
    assert hashed == []
    os.utime(images.files[3], ns=(0, 0))
    require_unchanged(images)
    images.files[2].write_bytes(images.files[2].read_bytes() + b"more")
    with pytest.raises(DataError, match=r"b/0\.jpg was changed"):
        require_unchanged(images)
    assert hashed == [images.files[3], images.files[2]]


def test_selected_images_are_decoded_one_at_a_time(images: FileImages) -> None:
    selected = SelectedImages(images, np.array([3, 0, 2]))
    assert len(selected) == 3
    for one, index in zip(selected, (3, 0, 2), strict=True):
        np.testing.assert_array_equal(one, images[index])
    np.testing.assert_array_equal(selected[1:][1], images[2])
    images.files[0].unlink()
    np.testing.assert_array_equal(selected[0], images[3])
    with pytest.raises(DataError, match="restore it"):
        list(selected)
