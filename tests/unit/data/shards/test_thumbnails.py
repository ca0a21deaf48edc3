from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from helpers.photos import draw_scene, write_photos
from triptych.config.schema import BoardConfig, DataConfig
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.data.duplicates import shrink
from triptych.data.shards.thumbnails import MARK, Look, read_looks
from triptych.errors import DataError


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of photos, two of which look alike, and an empty cache, of five thumbnails in a file."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("triptych.data.shards.files.IMAGES_PER_SHARD", 5)
    folder = write_photos(tmp_path / "photos", {"a": 9, "b": 9})
    for name, quality in (("a/x", 95), ("b/y", 60)):
        draw_scene(1, 60, 80).save(folder / f"{name}.jpg", quality=quality)
    return folder


def prepare(folder: Path, on_image: Callable[[int, int], None] = lambda done, total: None) -> BoardData:
    return load_board(prepare_board(BoardConfig(data=DataConfig(source=str(folder))), on_image))


def describe(data: BoardData) -> tuple[object, ...]:
    """Return all that is made of a folder."""
    described = (data.prepared.dataset_folder / "dataset.json").read_bytes()
    parts = [getattr(data.split, part) for part in data.prepared.sizes]
    arrays = [np.asarray(one).tolist() for one in (data.pixels, data.image_ids, data.labels, *parts)]
    return data.prepared.data_digest, data.prepared.test_set_id, described, arrays


CHANGES: dict[str, tuple[Callable[[Path], object], int]] = {
    "one is added first": (lambda folder: draw_scene(2, 60, 80).save(folder / "a" / "+.jpg"), 1),
    "one is copied": (lambda folder: shutil.copy(folder / "a" / "3.jpg", folder / "a" / "+.jpg"), 0),
    "one is renamed": (lambda folder: (folder / "a" / "3.jpg").rename(folder / "a" / "+.jpg"), 0),
    "one is moved to another class": (lambda folder: (folder / "a" / "3.jpg").rename(folder / "b" / "+.jpg"), 0),
    "one is removed": (lambda folder: (folder / "a" / "3.jpg").unlink(), 0),
    "one of two that look alike is removed": (lambda folder: (folder / "b" / "y.jpg").unlink(), 0),
    "nothing is changed": (lambda folder: None, 0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_new_photos_are_decoded_and_all_is_as_if_all_were(
    change: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, most = CHANGES[change]
    first = prepare(photos)
    assert first.prepared.dataset_folder.joinpath("dataset.json").is_file()
    apply(photos)
    decoded: list[tuple[int, int]] = []
    again = prepare(photos, lambda done, total: decoded.append((done, total)))
    assert decoded == [(len(again.labels), len(again.labels))] * most
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(photos.parent / "empty"))
    anew = prepare(photos)
    assert describe(again) == describe(anew)
    assert again.prepared.split_id == anew.prepared.split_id


def test_concurrent_preparations_divide_the_photos(photos: Path) -> None:
    decoded: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: prepare(photos, lambda done, total: decoded.append(done)), range(2))
    assert len(decoded) == 20
    assert describe(one) == describe(other)


def test_a_killed_preparation_is_continued(photos: Path, tmp_path: Path) -> None:
    expected = describe(prepare(photos))
    shutil.rmtree(tmp_path / "cache")

    def die(done: int, total: int) -> None:
        if (done, total) == (13, 20):
            os._exit(0)

    if not (child := os.fork()):
        prepare(photos, die)
    os.waitpid(child, 0)
    decoded: list[int] = []
    assert describe(prepare(photos, lambda done, total: decoded.append(done))) == expected
    assert decoded == list(range(11, 21)), "two files of five were complete"


def test_what_was_decoded_before_a_broken_photo_is_kept(photos: Path) -> None:
    sound = (photos / "b" / "3.jpg").read_bytes()
    (photos / "b" / "3.jpg").write_bytes(b"no photo")
    with pytest.raises(DataError, match=r"b/3\.jpg cannot be read"):
        prepare(photos)
    (photos / "b" / "3.jpg").write_bytes(sound)
    decoded: list[int] = []
    prepare(photos, lambda done, total: decoded.append(done))
    assert decoded == list(range(11, 21))


def test_thumbnails_of_an_earlier_version_are_dropped(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = prepare(photos)
    folder = data.prepared.dataset_folder
    for name in ("pixels.npy", "image-ids.npy"):
        (folder / name).touch()
    assert describe(prepare(photos)) == describe(data)
    assert [file.name for file in folder.iterdir()] == ["dataset.json"]
    assert f"{folder} is of an earlier version" in caplog.text


def test_a_look_is_read_as_it_was_stored() -> None:
    shrunk = shrink(np.asarray(draw_scene(0)))
    looks = [Look("0f" * 16, shrunk, {}), Look("1e" * 16, None, {"colour": 65535}), Look("2d" * 16, None, {"grey": 7})]
    marks = np.array([look.as_mark(b"1" * 31 + b"\0") for look in looks], dtype=MARK)
    assert read_looks(marks) == looks
