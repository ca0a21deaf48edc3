from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from triptych.errors import UnreadableImageError
from triptych.images import prefetch
from triptych.images.pixels import Pixels
from triptych.images.prefetch import (
    BATCHES_AHEAD,
    crop_image,
    describe_readers,
    load_batches,
    map_ahead,
    open_readers,
)
from triptych.images.preprocessing import Preprocessing
from triptych.images.sources import ArrayImages, FileImages

MakePhotos = Callable[..., Path]
SMALL = Preprocessing(40, 32, (0.5,) * 3, (0.25,) * 3, "bilinear")


def square(item: int) -> Future[int]:
    """Work that is done at once; that on item 5 fails."""
    future: Future[int] = Future()
    if item == 5:
        future.set_exception(ValueError("item 5"))
    else:
        future.set_result(item**2)
    return future


def test_results_come_in_the_order_of_the_items() -> None:
    last_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 3:
            last_is_done.set()
        assert last_is_done.wait(timeout=30)
        return -item

    with ThreadPoolExecutor(4) as pool:
        pairs = list(map_ahead(lambda item: pool.submit(work, item), range(9), ahead=4))
    assert pairs == [(item, -item) for item in range(9)]


@pytest.mark.parametrize("ahead", [1, 3, 20])
def test_no_work_starts_further_ahead_than_asked(ahead: int) -> None:
    begun: list[int] = []
    taken: list[int] = []

    def take() -> Iterator[int]:
        for item in (0, 1, 2, 3, 4, 6, 7, 8):
            taken.append(item)
            yield item

    def begin(item: int) -> Future[int]:
        begun.append(item)
        return square(item)

    results = map_ahead(begin, take(), ahead)
    assert begun == []
    for number, (item, result) in enumerate(results, start=1):
        assert result == item**2
        assert len(begun) == min(number + ahead, 8)
        assert taken == begun


def test_an_error_comes_out_at_its_item() -> None:
    results = map_ahead(square, range(9), ahead=4)
    assert [next(results) for _ in range(5)] == [(item, item**2) for item in range(5)]
    with pytest.raises(ValueError, match="item 5"):
        next(results)
    assert list(map_ahead(square, [], ahead=4)) == []


def test_closing_batches_early_ends_their_threads() -> None:
    loaded: list[int] = []

    def load(index: int) -> Pixels:
        loaded.append(index)
        return np.full((2, 2, 3), index, dtype=np.uint8)

    before = threading.active_count()
    batches = load_batches(load, np.split(np.arange(40), 10), threads=3)
    for first in (0, 4):
        np.testing.assert_array_equal(next(batches)[:, 0, 0, 0], range(first, first + 4))
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before
    assert set(loaded) <= set(range(8 + 4 * BATCHES_AHEAD))


@pytest.fixture
def files(tmp_path: Path, make_photos: MakePhotos) -> FileImages:
    """Six photos, the last of which is none."""
    folder = make_photos(tmp_path / "photos", {"a": 3, "b": 3})
    found = tuple(sorted(folder.rglob("*.jpg")))
    found[-1].write_text("no photo")
    return FileImages(found)


@pytest.fixture
def _worth_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where few files are worth processes of their own."""
    monkeypatch.setattr(prefetch, "CORES_WORTH_PROCESSES", 1)
    monkeypatch.setattr(prefetch, "FILES_WORTH_PROCESSES", 4)


@pytest.mark.usefixtures("_worth_processes")
def test_processes_read_what_threads_read_and_name_the_file_that_they_cannot(
    files: FileImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "count_cores", lambda: 2)
    with open_readers(files, 3) as threads, open_readers(files, 6) as processes:
        assert isinstance(threads, ThreadPoolExecutor)
        assert isinstance(processes, ProcessPoolExecutor)
        for index in range(5):
            expected = SMALL.crop(files[index])
            for pool in (threads, processes):
                crop = pool.submit(crop_image, files.locate(index), SMALL).result()
                np.testing.assert_array_equal(crop, expected)
        for pool in (threads, processes):
            with pytest.raises(UnreadableImageError, match=r"photos/b/2\.jpg cannot be read") as caught:
                pool.submit(crop_image, files.locate(5), SMALL).result()
            assert caught.value.file == files.files[5]
    assert [describe_readers(files, wanted) for wanted in (3, 6)] == ["2 threads", "2 processes"]


@pytest.mark.usefixtures("_worth_processes")
def test_pixels_in_memory_and_an_empty_list_are_read_by_threads(files: FileImages) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(6, 50, 41, 1), dtype=np.uint8)
    for images, wanted in ((ArrayImages(pixels), 6), (files, 0), (FileImages(()), 0)):
        with open_readers(images, wanted) as pool:
            assert isinstance(pool, ThreadPoolExecutor)
    np.testing.assert_array_equal(crop_image(pixels[0], SMALL), SMALL.crop(pixels[0]))
