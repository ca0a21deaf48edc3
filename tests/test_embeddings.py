from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from triptych import embedding_record
from triptych.backbones import Backbone, load_backbone
from triptych.embedding_record import ShardedEmbeddings, load_embeddings
from triptych.embeddings import LiveEmbeddings, store_embeddings
from triptych.images import ArrayImages, FileImages
from triptych.preprocessing import Preprocessing
from triptych.sections import TransferConfig
from triptych.shards import MappedShard, is_sound, try_lock, write_shard
from triptych.training import Examples
from triptych.transfer import Head, train_head

Damage = Callable[[Path], None]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store for each test, in files of four images."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(embedding_record, "IMAGES_PER_SHARD", 4)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def images() -> ArrayImages:
    return ArrayImages(np.random.default_rng(0).integers(0, 256, size=(10, 40, 50, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """A small network with random weights, on small inputs, to be quick."""
    full = load_backbone("mobilenet_v3_small", "random")
    return replace(full, preprocessing=Preprocessing(40, 32, (0.5,) * 3, (0.25,) * 3, "bilinear"))


def store(backbone: Backbone, images: ArrayImages | FileImages) -> embedding_record.EmbeddingRecord:
    return store_embeddings([backbone], images, batch_size=4, threads=1)[0]


def test_stored_embeddings_equal_the_live_network(backbone: Backbone, images: ArrayImages) -> None:
    record = store(backbone, images)
    live = LiveEmbeddings(backbone, images, np.arange(10), 4)
    np.testing.assert_array_equal(load_embeddings(record)[:], live[:])
    assert record.backbone_digest == backbone.digest()


def test_a_changed_image_invalidates_its_own_shard_only(
    backbone: Backbone, tmp_path: Path, make_photos: Callable[..., Path]
) -> None:
    folder = make_photos(tmp_path / "photos", {"a": 5, "b": 5})
    files = FileImages(tuple(sorted(folder.rglob("*.jpg"))))
    first, again = store(backbone, files), store(backbone, files)
    assert (first.computed_images, again.computed_images, len(first.shards)) == (10, 0, 3)
    make_photos(tmp_path / "other", {"a": 1}, seed=7)
    files.files[5].write_bytes((tmp_path / "other" / "a" / "0.jpg").read_bytes())
    changed = store(backbone, files)
    assert changed.computed_images == 4
    assert [old == new for old, new in zip(first.shards, changed.shards, strict=True)] == [True, False, True]
    changed.shards[2].unlink()
    assert store(backbone, files).computed_images == 2


def test_other_weights_or_transforms_have_embeddings_of_their_own(backbone: Backbone, images: ArrayImages) -> None:
    other = replace(backbone, preprocessing=replace(backbone.preprocessing, resize_size=36))
    assert store(backbone, images).shards[0].parent != store(other, images).shards[0].parent


def flip_a_byte(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def truncate(shard: Path) -> None:
    os.truncate(shard, shard.stat().st_size - 40)


def empty(shard: Path) -> None:
    shard.write_bytes(b"")


def give_another_shape(shard: Path) -> None:
    write_shard(shard, np.zeros((4, 3), dtype=np.float32))


def take_the_checksum_away(shard: Path) -> None:
    np.save(shard, MappedShard(shard).rows.copy())


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, empty, give_another_shape, take_the_checksum_away])
def test_a_damaged_shard_is_noticed_and_computed_again(backbone: Backbone, images: ArrayImages, damage: Damage) -> None:
    record = store(backbone, images)
    expected = load_embeddings(record)[:]
    damage(record.shards[1])
    mended = store(backbone, images)
    assert (mended.computed_images, mended.damaged_shards) == (4, (record.shards[1],))
    assert mended.describe() == "4 computed, the rest found; 1 damaged file(s) in the store were computed again"
    np.testing.assert_array_equal(load_embeddings(mended)[:], expected)
    assert store(backbone, images).describe() == "0 computed, the rest found"


def test_a_pass_that_died_goes_on_at_the_first_missing_shard(backbone: Backbone, images: ArrayImages) -> None:
    def die(done: int, total: int) -> None:
        del total
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_embeddings([backbone], images, batch_size=2, threads=1, on_images=die)
    record = store(backbone, images)
    assert record.computed_images == 6
    names = {file.name for file in record.shards[0].parent.iterdir()}
    assert names == {shard.name for shard in record.shards} | {"space.json"}


class Neighbour:
    """Another process that embeds the same images."""

    def __init__(self, images: int, images_per_shard: int) -> None:
        command = [sys.executable, str(Path(__file__).with_name("embed_alone.py")), str(images), str(images_per_shard)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.read() == "ready"

    def read(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def start(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> tuple[int, list[str]]:
        told = json.loads(self.process.communicate()[0].splitlines()[-1])
        return told["computed"], told["shards"]


def test_two_processes_at_once_compute_each_shard_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [Neighbour(80, 8), Neighbour(80, 8)]
    for neighbour in both:
        neighbour.start()
    (one, shards), (other, same) = (neighbour.finish() for neighbour in both)
    assert one + other == 80
    assert shards == same
    contents = [Path(shard).read_bytes() for shard in shards]
    assert not list(Path(shards[0]).parent.glob("*.lock"))
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "alone"))
    alone = Neighbour(80, 8)
    alone.start()
    computed, shards = alone.finish()
    assert computed == 80
    assert [Path(shard).read_bytes() for shard in shards] == contents


def test_a_killed_process_blocks_nobody() -> None:
    killed, second = Neighbour(80, 40), Neighbour(80, 40)
    killed.start()
    assert killed.read() == "4 of 80"
    killed.process.kill()
    killed.process.communicate()
    second.start()
    computed, shards = second.finish()
    assert (computed, len(shards)) == (80, 2)


def test_who_finds_a_shard_locked_waits_for_it(
    backbone: Backbone, images: ArrayImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = store(backbone, images)
    content = expected.shards[0].read_bytes()
    expected.shards[0].unlink()

    def finish_elsewhere(seconds: float) -> None:
        del seconds
        expected.shards[0].write_bytes(content)

    monkeypatch.setattr("triptych.embeddings.time.sleep", finish_elsewhere)
    with try_lock(expected.shards[0]) as locked:
        assert locked
        waited = store(backbone, images)
    assert (waited.computed_images, waited.shards) == (0, expected.shards)


@pytest.fixture
def sharded(tmp_path: Path) -> tuple[ShardedEmbeddings, np.ndarray]:
    array = np.random.default_rng(1).normal(size=(11, 3)).astype(np.float32)
    files = tuple(tmp_path / f"{start}.npy" for start in range(0, 11, 4))
    for start, file in zip(range(0, 11, 4), files, strict=True):
        write_shard(file, array[start : start + 4])
        assert is_sound(file, array[start : start + 4].shape)
    return load_embeddings(embedding_record.EmbeddingRecord(files, "", 11, 0, 0.0)), array


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(3, 9),
        slice(None, None, -2),
        slice(0, 0),
        np.array([10, 0, 0, 5, -1]),
        [7, 2],
        np.array([], dtype=np.int64),
        np.arange(11) % 3 == 0,
        6,
        -1,
    ],
    ids=str,
)
def test_mapped_shards_are_read_like_one_array(
    sharded: tuple[ShardedEmbeddings, np.ndarray], rows: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped, array = sharded
    taken = mapped[rows]
    np.testing.assert_array_equal(taken, array[rows])  # type: ignore[call-overload]  # any of NumPy's ways to index
    assert taken.dtype == np.float32
    if not isinstance(rows, int):
        np.testing.assert_array_equal(mapped.select(rows)[:], array[rows])  # type: ignore[call-overload]
        monkeypatch.setattr(embedding_record, "COPIED_BYTES", 0)
        left = mapped.select(rows)
        assert isinstance(left, ShardedEmbeddings) == bool(len(taken))
        np.testing.assert_array_equal(left[:], array[rows])  # type: ignore[call-overload]


def test_pages_that_were_read_are_given_back(
    sharded: tuple[ShardedEmbeddings, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_record, "ROWS_BETWEEN_RELEASES", 3)
    mapped, array = sharded
    released: list[MappedShard] = []
    release = MappedShard.release

    def note_and_release(shard: MappedShard) -> None:
        released.append(shard)
        release(shard)

    monkeypatch.setattr(MappedShard, "release", note_and_release)
    for _ in range(2):
        for row in range(11):
            np.testing.assert_array_equal(mapped[row], array[row])
    assert released == mapped.mapped.shards * 7


def test_mapped_shards_have_the_properties_of_an_array(sharded: tuple[ShardedEmbeddings, np.ndarray]) -> None:
    mapped, array = sharded
    assert (len(mapped), mapped.shape, mapped.dtype) == (11, (11, 3), np.dtype(np.float32))
    np.testing.assert_array_equal(np.asarray(mapped), array)
    assert np.asarray(mapped, dtype=np.float64).dtype == np.float64
    with pytest.raises(IndexError):
        mapped[11]


def train(features: object, labels: np.ndarray, dropout: float = 0.0) -> Head:
    examples = Examples(features, labels)  # type: ignore[arg-type]  # it is read like an array
    config = TransferConfig(epochs=3, batch_size=2)
    return train_head(config, examples, None, classes=2, dropout=dropout, seed=4, on_epoch=lambda metrics: None)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_training_on_embeddings_is_training_behind_the_frozen_network(
    backbone: Backbone, images: ArrayImages, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.arange(10) % 2
    monkeypatch.setattr(embedding_record, "COPIED_BYTES", 0)
    stored = load_embeddings(store(backbone, images)).select(np.arange(10))
    assert isinstance(stored, ShardedEmbeddings)
    before = backbone.digest()
    cached, copied = train(stored, labels, dropout), train(stored[:], labels, dropout)
    live = train(LiveEmbeddings(backbone, images, np.arange(10), 4), labels, dropout)
    weights = [head.linear.weight.detach().numpy() for head in (cached, copied, live)]
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_allclose(weights[0], weights[2], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(cached.predict_proba(stored), cached.predict_proba(stored[:]))  # type: ignore[arg-type]
    assert backbone.digest() == before
