from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from triptych.images.sources import ArrayImages
from triptych.networks.backbones import Backbone
from triptych.transfer import records
from triptych.transfer.shards import Identities, write_shard
from triptych.transfer.store import (
    MOST_SMALL_FILES,
    EmbeddingSpace,
    choose_merges,
    identify_images,
    identify_space,
    list_indices,
    name_shard,
)
from triptych.transfer.weights import load_backbone


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("shufflenet_v2_x0_5", "bundled")


@pytest.fixture
def space(backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddingSpace:
    """A space in an empty store, of four images in a file."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(records, "IMAGES_PER_SHARD", 4)
    return EmbeddingSpace.of(backbone)


def draw_images(seed: int = 0) -> ArrayImages:
    return ArrayImages(np.random.default_rng(seed).integers(0, 256, size=(10, 8, 8, 1), dtype=np.uint8))


def test_a_space_is_named_by_everything_that_embeddings_depend_on(backbone: Backbone) -> None:
    others = [
        backbone,
        replace(backbone, preprocessing=replace(backbone.preprocessing, crop_size=24)),
        backbone.in_format("float32-folded"),
        replace(backbone, cut_layer="another"),
    ]
    names = {identify_space(other, "a digest") for other in others} | {identify_space(backbone, "another digest")}
    assert len(names) == 5
    assert all(name.startswith("shufflenet_v2_x0_5-") for name in names)
    assert identify_space(replace(backbone, weights="a path"), "a digest") in names, "the digest is that of the weights"


def draw_identities(images: int, seed: int = 0) -> Identities:
    return np.frombuffer(np.random.default_rng(seed).bytes(32 * images), dtype="S32")


def fill(space: EmbeddingSpace, identities: Identities) -> Path:
    """Write a file of embeddings that are all the same number, the last byte of the image's identity."""
    file = space.folder / name_shard(identities)
    values = np.array([[identity.ljust(32, b"\0")[-1]] for identity in identities.tolist()], dtype=np.float32)
    write_shard(file, identities, values.repeat(space.backbone.dimension, axis=1))
    return file


def test_images_are_known_by_their_content_in_parts_of_a_file() -> None:
    images = draw_images()
    identities = identify_images(images, range(10))
    assert len(set(identities.tolist())) == 10
    images.array[5] += 1
    assert np.flatnonzero(identities != identify_images(images, range(10))).tolist() == [5]


@pytest.mark.parametrize(
    ("numbers", "indices"), [(None, range(10)), (range(1, 2), range(4, 8)), (range(1, 3), range(4, 10))]
)
def test_parts_are_as_large_as_files(numbers: range | None, indices: range, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "IMAGES_PER_SHARD", 4)
    assert list_indices(draw_images(), numbers).tolist() == list(indices)


def test_images_are_found_in_any_file_that_is_sound(space: EmbeddingSpace) -> None:
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
    assert space.holds(known[:7]), "checksums are verified only when embeddings are used"
    assert space.find(known[:7]).missing.tolist() == [4, 5, 6], "the fourth image is in another file, too"
    assert (space.damaged, files[1].exists()) == ([files[1]], False)


def read_all(space: EmbeddingSpace, identities: Identities) -> list[float]:
    record = records.EmbeddingRecord(tuple(space.find(identities).list_runs()), "", len(identities), 0, 0.0)
    return [float(row[0]) for row in records.load_embeddings(record)[:]]


def test_a_year_of_small_additions_leaves_few_files(space: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "IMAGES_PER_SHARD", 100)
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


def test_files_that_were_used_today_are_not_deleted(space: EmbeddingSpace) -> None:
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


def test_a_space_is_described_to_people(space: EmbeddingSpace) -> None:
    space.describe()
    described = json.loads((space.folder / "space.json").read_text(encoding="utf-8"))
    assert described["network"] == "shufflenet_v2_x0_5"
    assert described["weights"] == space.backbone.digest()
    assert described["weights_as_configured"] == "bundled"
