from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.embeddings import check_faster_is_near, check_stored_is_live
from helpers.idx import write_idx
from helpers.photos import write_photos
from triptych.config.resolve import resolve_config
from triptych.config.trainers import TransferConfig
from triptych.data.boards import load_board, prepare_board
from triptych.data.datasets import fetch_dataset
from triptych.data.shards.files import MappedShard, try_lock
from triptych.data.shards.rows import ShardedRows
from triptych.errors import DataError
from triptych.images import sources
from triptych.images.decoding import Decoded, decode_image, decoding
from triptych.images.pixels import Pixels
from triptych.images.preprocessing import Preprocessing
from triptych.images.sources import ArrayImages, FileImages, ImageSource
from triptych.networks.backbones import Backbone, Embeddings
from triptych.networks.cuts.nodes import Cut
from triptych.networks.head import Head
from triptych.networks.minibatches import Examples
from triptych.system.cache import list_cache, select_unused
from triptych.transfer.embed import LiveEmbeddings, store_embeddings
from triptych.transfer.heads import train_head
from triptych.transfer.records import EmbeddingRecord, load_embeddings
from triptych.transfer.shards import write_shard
from triptych.transfer.weights import fetch_backbones, load_backbone

Damage = Callable[[Path], None]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store for each test, in files of four images."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("triptych.data.shards.files.IMAGES_PER_SHARD", 4)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def images() -> ArrayImages:
    return ArrayImages(np.random.default_rng(0).integers(0, 256, size=(10, 40, 50, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """A small network with random weights, on small inputs, to be quick."""
    full = load_backbone("mobilenet_v3_small", "random")
    return replace(full, preprocessing=Preprocessing(40, 32, (0.5,) * 3, (0.25,) * 3, "bilinear"))


def store(backbone: Backbone, images: ArrayImages | FileImages) -> EmbeddingRecord:
    return store_embeddings([backbone], images, batch_size=4, threads=1)[0]


def embed_padded(backbone: Backbone, images: Sequence[Pixels]) -> Embeddings:
    """Return the embeddings of images in batches of four, the last one filled up with its last image."""
    filled = [*images, *[images[-1]] * (-len(images) % 4)]
    rows = [backbone.embed(filled[at : at + 4]) for at in range(0, len(filled), 4)]
    return np.concatenate(rows)[: len(images)]


def test_stored_embeddings_equal_the_live_network(backbone: Backbone, images: ArrayImages) -> None:
    record = store(backbone, images)
    live = LiveEmbeddings(backbone, images, np.arange(10), 4)
    np.testing.assert_array_equal(load_embeddings(record)[:8], live[:8])
    np.testing.assert_array_equal(load_embeddings(record)[:], embed_padded(backbone, list(images.array)))
    assert record.backbone_digest == backbone.digest()


# What is done to a data set of ten images, 0 to 9, and how many are embedded for it.
CHANGES: dict[str, tuple[Sequence[int], int]] = {
    "one added first": ([10, *range(10)], 1),
    "one added in the middle": ([*range(5), 10, *range(5, 10)], 1),
    "as many added as there are": (
        [index for pair in zip(range(10), range(10, 20), strict=True) for index in pair],
        10,
    ),
    "one moved to another class": ([9, *range(9)], 0),
    "all renamed": ([3, 8, 1, 0, 9, 2, 7, 6, 4, 5], 0),
    "one deleted": ([*range(3), *range(4, 10)], 0),
    "one replaced": ([*range(3), 10, *range(4, 10)], 1),
    "one copied": ([*range(10), 0, 0], 0),
    "two of a kind added": ([10, *range(10), 10], 1),
    "another data set": (range(10, 20), 10),
}


@pytest.mark.parametrize("change", CHANGES)
def test_growth_costs_what_is_new(
    change: str, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = np.random.default_rng(1).integers(0, 256, size=(20, 8, 8, 3), dtype=np.uint8)
    before = store(backbone, ArrayImages(every[:10]))
    files = {file: file.read_bytes() for file in before.shards}
    wanted, new = CHANGES[change]
    after = store(backbone, ArrayImages(every[list(wanted)]))
    assert (after.images, after.computed_images) == (len(wanted), new)
    assert {file: file.read_bytes() for file in before.shards} == files
    rows = sum(len(MappedShard(file).rows) for file in before.shards[0].parent.glob("*.npy"))
    assert rows == 10 + new, "nothing is copied"
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "fresh"))
    fresh = store(backbone, ArrayImages(every[list(wanted)]))
    np.testing.assert_array_equal(load_embeddings(after)[:], load_embeddings(fresh)[:])
    assert after.contents == fresh.contents, "a training with either has the same name"


def test_after_any_history_the_bits_are_those_of_a_fresh_embedding(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    every = rng.integers(0, 256, size=(60, 8, 8, 3), dtype=np.uint8)
    known: set[int] = set()
    for _ in range(8):
        wanted = rng.choice(60, size=rng.integers(1, 30)).tolist()
        record = store(backbone, ArrayImages(every[wanted]))
        assert record.computed_images == len(set(wanted) - known)
        known |= set(wanted)
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "fresh"))
    fresh = load_embeddings(store(backbone, ArrayImages(every)))
    np.testing.assert_array_equal(load_embeddings(record)[:], fresh[wanted])


def load_idx(tmp_path: Path, photos: Path) -> ImageSource:
    """Gray images of 5 x 4 pixels in files like MNIST's."""
    del photos
    rng = np.random.default_rng(0)
    for part, images in (("train", 9), ("t10k", 5)):
        pixels = rng.integers(0, 256, size=(images, 5, 4), dtype=np.uint8)
        write_idx(tmp_path, part, pixels, np.arange(images, dtype=np.uint8) % 2)
    return fetch_dataset(f"idx:{tmp_path}").images


KINDS_OF_DATA: dict[str, Callable[[Path, Path], ImageSource]] = {
    "digits": lambda tmp_path, photos: fetch_dataset("digits").images,
    "idx": load_idx,
    "folder": lambda tmp_path, photos: fetch_dataset(f"folder:{photos}").images,
    "memory-mapped": lambda tmp_path, photos: load_board(prepare_board(resolve_config("digits").boards[0])).images,
}


@pytest.mark.parametrize("kind", KINDS_OF_DATA)
def test_of_every_kind_of_data_the_store_holds_what_the_network_gives(kind: str, tmp_path: Path, photos: Path) -> None:
    backbone = load_backbone("shufflenet_v2_x0_5", "bundled")
    check_stored_is_live(backbone, KINDS_OF_DATA[kind](tmp_path, photos))


def test_what_is_stored_in_faster_formats_is_near_the_exact_embeddings() -> None:
    check_faster_is_near(load_backbone("shufflenet_v2_x0_5", "bundled"), fetch_dataset("digits").images)


def test_networks_share_one_reading_whatever_inputs_they_take(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_photos(tmp_path / "photos", {"a": 5, "b": 5})
    images = FileImages(tuple(sorted(folder.rglob("*.jpg"))))
    small = replace(load_backbone("shufflenet_v2_x0_5", "bundled"), preprocessing=backbone.preprocessing)
    other = replace(small, preprocessing=replace(small.preprocessing, crop_size=24))
    decoded: Counter[Path] = Counter()

    def decode(file: Path, white_level: int) -> AbstractContextManager[Decoded]:
        decoded[file] += 1
        return decoding(file, white_level)

    monkeypatch.setattr(sources, "decoding", decode)
    reported: list[tuple[int, int]] = []
    networks = [backbone, small, other]
    records = store_embeddings(networks, images, batch_size=4, threads=1, on_images=lambda *done: reported.append(done))
    assert decoded == dict.fromkeys(images.files, 1)
    assert reported == [(12, 30), (24, 30), (30, 30), (30, 30)]
    for network, record in zip(networks, records, strict=True):
        assert (record.panel, record.computed_images) == (network.name, 10)
        expected = embed_padded(network, [decode_image(file) for file in images.files])
        np.testing.assert_array_equal(load_embeddings(record)[:], expected)
    records[0].shards[1].unlink()
    new = replace(small, preprocessing=replace(small.preprocessing, crop_size=28))
    again = store_embeddings([*networks, new], images, batch_size=4, threads=1)
    assert [record.computed_images for record in again] == [4, 0, 0, 10]
    assert decoded == dict.fromkeys(images.files, 2)


def test_a_changed_photo_is_the_only_one_that_is_read(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_photos(tmp_path / "photos", {"a": 5, "b": 5})
    files = FileImages(tuple(sorted(folder.rglob("*.jpg"))))
    first = store(backbone, files)
    write_photos(tmp_path / "other", {"a": 1}, seed=7)
    files.files[5].write_bytes((tmp_path / "other" / "a" / "0.jpg").read_bytes())
    decoded: list[Path] = []

    def decode(file: Path, white_level: int) -> AbstractContextManager[Decoded]:
        decoded.append(file)
        return decoding(file, white_level)

    monkeypatch.setattr(sources, "decoding", decode)
    changed = store(backbone, files)
    assert decoded == [files.files[5]]
    assert (changed.computed_images, len(first.shards), len(changed.shards)) == (1, 3, 4)
    assert store(backbone, files).computed_images == 0


def test_an_image_that_is_changed_while_it_is_read_is_not_stored(backbone: Backbone, tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", {"a": 5, "b": 5})
    files = FileImages(tuple(sorted(folder.rglob("*.jpg"))))

    def edit(done: int, total: int) -> None:
        if 0 < done < total:
            files.files[0].write_bytes(files.files[9].read_bytes())

    with pytest.raises(DataError, match="image 0 was changed meanwhile: run the same command again"):
        store_embeddings([backbone], files, batch_size=2, threads=1, on_images=edit)
    record = store(backbone, files)
    np.testing.assert_array_equal(load_embeddings(record)[0], load_embeddings(record)[9])


def test_other_weights_or_transforms_have_embeddings_of_their_own(backbone: Backbone, images: ArrayImages) -> None:
    other = replace(backbone, preprocessing=replace(backbone.preprocessing, resize_size=36))
    assert store(backbone, images).shards[0].parent != store(other, images).shards[0].parent


def test_cuts_of_a_network_share_one_pass_and_have_embeddings_of_their_own(
    backbone: Backbone, images: ArrayImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = [Cut(), Cut("features"), Cut("features.3"), Cut("features.3", "max")]
    backbones = [
        replace(one, preprocessing=backbone.preprocessing)
        for one in fetch_backbones("mobilenet_v3_small", "random", cuts)
    ]
    alone = [store(one, images) for one in backbones]
    assert len({record.shards[0].parent for record in alone}) == len(cuts)
    assert all(record.computed_images == 10 for record in alone)
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "another"))
    passes: list[int] = []
    launch = Backbone.launch_each

    def count(network: Backbone, crops: Pixels) -> tuple[torch.Tensor, ...]:
        passes.append(len(crops))
        return launch(network, crops)

    monkeypatch.setattr(Backbone, "launch_each", count)
    together = store_embeddings(backbones, images, batch_size=4, threads=1)
    assert passes == [4, 4, 4]
    assert [record.contents for record in together] == [record.contents for record in alone]


def flip_a_byte(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def truncate(shard: Path) -> None:
    os.truncate(shard, shard.stat().st_size - 40)


def empty(shard: Path) -> None:
    shard.write_bytes(b"")


def give_another_shape(shard: Path) -> None:
    write_shard(shard, np.array([b"an image"] * 4), np.zeros((4, 3), dtype=np.float32))


def take_the_checksum_away(shard: Path) -> None:
    np.save(shard, MappedShard(shard).rows.copy())


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, empty, give_another_shape, take_the_checksum_away])
def test_a_damaged_shard_is_noticed_and_computed_again(backbone: Backbone, images: ArrayImages, damage: Damage) -> None:
    record = store(backbone, images)
    expected = load_embeddings(record)[:]
    damage(record.shards[1])
    mended = store(backbone, images)
    assert (mended.computed_images, mended.damaged_shards) == (4, (record.shards[1],))
    assert mended.describe() == "4 computed, 6 already stored; 1 damaged file(s) computed again"
    np.testing.assert_array_equal(load_embeddings(mended)[:], expected)
    assert store(backbone, images).describe() == "0 computed, 10 already stored"


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


def test_what_a_kill_leaves_is_neither_used_nor_kept_for_ever(
    backbone: Backbone, images: ArrayImages, cache: Path
) -> None:
    expected = store(backbone, images)
    contents = [shard.read_bytes() for shard in expected.shards]
    shard = expected.shards[1]
    shard.unlink()
    shard.with_suffix(".lock").touch()
    partial = shard.with_name(f".{shard.stem}.{uuid.uuid4().hex}.npy")
    partial.write_bytes(contents[1][:50])
    os.utime(partial, (0, 0))
    assert store(backbone, images).computed_images == 4
    assert [shard.read_bytes() for shard in expected.shards] == contents
    assert not list(cache.rglob("*.lock"))
    [entry] = list_cache(["embeddings"])
    assert entry.images == 10
    assert [file.path for file in select_unused([entry], days=30)] == [partial]


def test_who_finds_a_shard_locked_waits_for_it(
    backbone: Backbone, images: ArrayImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = store(backbone, images)
    content = expected.shards[0].read_bytes()
    expected.shards[0].unlink()

    def finish_elsewhere(seconds: float) -> None:
        del seconds
        expected.shards[0].write_bytes(content)

    monkeypatch.setattr("triptych.transfer.embed.time.sleep", finish_elsewhere)
    with try_lock(expected.shards[0]) as locked:
        assert locked
        waited = store(backbone, images)
    assert (waited.computed_images, waited.shards) == (0, expected.shards)


def train(features: object, labels: np.ndarray, dropout: float = 0.0) -> Head:
    examples = Examples(features, labels)  # type: ignore[arg-type]  # it is read like an array
    config = TransferConfig(epochs=3, batch_size=2)
    return train_head(config, examples, None, classes=2, dropout=dropout, seed=4, on_epoch=lambda metrics: None)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_training_on_embeddings_is_training_behind_the_frozen_network(
    backbone: Backbone, images: ArrayImages, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.arange(10) % 2
    monkeypatch.setattr("triptych.data.shards.rows.COPIED_BYTES", 0)
    stored = load_embeddings(store(backbone, images)).select(np.arange(10))
    assert isinstance(stored, ShardedRows)
    before = backbone.digest()
    cached, copied = train(stored, labels, dropout), train(stored[:], labels, dropout)
    live = train(LiveEmbeddings(backbone, images, np.arange(10), 4), labels, dropout)
    weights = [head.linear.weight.detach().numpy() for head in (cached, copied, live)]
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_allclose(weights[0], weights[2], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(cached.predict_proba(stored), cached.predict_proba(stored[:]))  # type: ignore[arg-type]
    assert backbone.digest() == before
