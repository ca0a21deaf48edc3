from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from triptych.data.shards.files import Identities, Layout, write_rows
from triptych.data.shards.rows import ShardedRows
from triptych.data.shards.space import MOST_SMALL_FILES, Space, choose_merges, identify_images, name_shard
from triptych.images.sources import ArrayImages

LAYOUT = Layout((2,), np.dtype(np.float32), np.dtype([("identity", "S32")]))


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Space:
    """An empty space in the cache, of four images in a file."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("triptych.data.shards.files.IMAGES_PER_SHARD", 4)
    return Space(tmp_path, LAYOUT)


def draw_images(seed: int = 0) -> ArrayImages:
    return ArrayImages(np.random.default_rng(seed).integers(0, 256, size=(10, 8, 8, 1), dtype=np.uint8))


def draw_identities(images: int, seed: int = 0) -> Identities:
    return np.frombuffer(np.random.default_rng(seed).bytes(32 * images), dtype="S32")


def fill(space: Space, identities: Identities) -> Path:
    """Write a file of rows that are all the same number, the last byte of the image's identity."""
    file = space.folder / name_shard(identities)
    values = np.array([[identity.ljust(32, b"\0")[-1]] for identity in identities.tolist()], dtype=np.float32)
    marks = np.array([(identity,) for identity in identities.tolist()], dtype=LAYOUT.mark)
    write_rows(file, marks, values.repeat(2, axis=1))
    return file


def test_images_are_known_by_their_content_in_parts_of_a_file() -> None:
    images = draw_images()
    identities = identify_images(images, range(10))
    assert len(set(identities.tolist())) == 10
    images.array[5] += 1
    assert np.flatnonzero(identities != identify_images(images, range(10))).tolist() == [5]


def test_images_are_found_in_any_file_that_is_sound(space: Space) -> None:
    known = draw_identities(9)
    files = [fill(space, known[part]) for part in (slice(3), slice(3, 7), slice(2, 4))]
    places = space.find(known[[8, 2, 3, 0, 2]])
    assert [places.files[owner] if owner >= 0 else None for owner in places.owners] == [
        None, files[0], files[1], files[0], files[0],
    ]  # fmt: skip
    assert places.rows[1:].tolist() == [2, 0, 0, 2]
    assert places.missing.tolist() == [0]
    assert (space.holds(known[:7]), space.holds(known)) == (True, False)
    content = files[1].read_bytes()
    files[1].write_bytes(content[:200] + b"?" + content[201:])
    assert space.holds(known[:7]), "checksums are verified only when rows are used"
    assert space.find(known[:7]).missing.tolist() == [4, 5, 6], "the fourth image is in another file, too"
    assert (space.damaged, files[1].exists()) == ([files[1]], False)


def read_all(space: Space, identities: Identities) -> list[float]:
    return [float(row[0]) for row in ShardedRows.of(list(space.find(identities).list_runs()))[:]]


def test_a_year_of_small_additions_leaves_few_files(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.data.shards.files.IMAGES_PER_SHARD", 100)
    known = draw_identities(365)
    expected = [float(identity.ljust(32, b"\0")[-1]) for identity in known.tolist()]
    most = 0
    for night in range(365):
        fill(space, known[night : night + 1])
        space.holds(known)
        for file in space.marks:
            os.utime(file, (0, 0))  # days later
        space.merge()
        most = max(most, len(list(space.folder.glob("*.npy"))))
    assert most <= 2 * (MOST_SMALL_FILES + 2 * 365 // 100)
    assert read_all(space, known) == expected
    assert not space.damaged


def test_files_that_were_used_today_are_not_deleted(space: Space) -> None:
    known = draw_identities(40)
    files = [fill(space, known[index : index + 1]) for index in range(40)]
    for _ in range(2):
        space.find(known)
        space.merge()
    assert all(file.exists() for file in files)
    assert len(space.find(known).used) == 10, "the merged files are found first"


SIZES = [[256] * 300, [1] * 16, [1] * 17, [200] * 20, [255] * 5 + list(range(1, 30)), [1] * 300]


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: str(sizes[:3]))
def test_few_files_are_left_after_a_merge(sizes: list[int]) -> None:
    files = {Path(str(number)): size for number, size in enumerate(sizes)}
    merges = choose_merges(files)
    for merge in merges:
        assert max(files[file] for file in merge) < sum(files[file] for file in merge) <= 256
    merged = [file for merge in merges for file in merge]
    assert len(merged) == len(set(merged))
    assert len(files) - len(merged) + len(merges) <= 2 * sum(sizes) / 256 + MOST_SMALL_FILES + 1
