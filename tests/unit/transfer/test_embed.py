from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch

from triptych.config.resolve import resolve_config
from triptych.config.trainers import TransferConfig
from triptych.data.boards import load_board, prepare_board
from triptych.data.datasets import fetch_dataset
from triptych.images import prefetch as reading
from triptych.images.decoding import decode_image
from triptych.images.pixels import Pixels
from triptych.images.preprocessing import Preprocessing
from triptych.images.sources import ArrayImages, FileImages, ImageSource
from triptych.networks.backbones import Backbone
from triptych.networks.head import Head
from triptych.networks.minibatches import Examples
from triptych.networks.precision import PRECISIONS
from triptych.system.cache import list_cache, select_unused
from triptych.system.threads import count_cores
from triptych.transfer import choose_precision
from triptych.transfer import records as embedding_record
from triptych.transfer.choose_precision import MIN_COSINE, choose_format, measure_formats, worst_cosine
from triptych.transfer.embed import LiveEmbeddings, store_embeddings
from triptych.transfer.heads import train_head
from triptych.transfer.records import ShardedEmbeddings, load_embeddings
from triptych.transfer.shards import MappedShard, is_sound, try_lock, write_shard
from triptych.transfer.weights import load_backbone

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


def load_idx(tmp_path: Path, photos: Path) -> ImageSource:
    """Gray images of 5 x 4 pixels in files like MNIST's."""
    del photos
    rng = np.random.default_rng(0)
    for part, images in (("train", 9), ("t10k", 5)):
        arrays = rng.integers(0, 256, size=(images, 5, 4), dtype=np.uint8), np.arange(images, dtype=np.uint8) % 2
        for name, array in zip(("images-idx3", "labels-idx1"), arrays, strict=True):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (tmp_path / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())
    return fetch_dataset(f"idx:{tmp_path}").images


KINDS_OF_DATA: dict[str, Callable[[Path, Path], ImageSource]] = {
    "digits": lambda tmp_path, photos: fetch_dataset("digits").images,
    "idx": load_idx,
    "folder": lambda tmp_path, photos: fetch_dataset(f"folder:{photos}").images,
    "memory-mapped": lambda tmp_path, photos: load_board(prepare_board(resolve_config("digits").boards[0])).images,
}
SAMPLE_SHARDS = range(1, 4)  # images 4 to 15, of fewer where there are fewer


def check_stored_is_live(backbone: Backbone, images: ImageSource, numbers: range = SAMPLE_SHARDS) -> None:
    """In the exact format the store holds what the network gives, bit for bit; in a faster one nearly."""
    torch.set_num_threads(count_cores())  # the number of threads changes the last bits
    indices = np.arange(4 * numbers.start, min(4 * numbers.stop, len(images)))
    live = LiveEmbeddings(backbone, images, indices, 4)[:]
    by_hand = np.concatenate(
        [backbone.embed([images[i] for i in indices[at : at + 4].tolist()]) for at in range(0, len(indices), 4)]
    )
    np.testing.assert_array_equal(live, by_hand)
    [exact] = store_embeddings([backbone], images, batch_size=4, threads=count_cores(), numbers=numbers)
    assert (exact.number_format, exact.computed_images) == ("float32", len(indices))
    np.testing.assert_array_equal(load_embeddings(exact)[:], live)
    sample = np.stack([backbone.preprocessing.crop(images[i]) for i in indices.tolist()])
    for name in ("float32-folded", choose_faster(backbone, sample)):
        [faster] = store_embeddings([backbone.in_format(name)], images, batch_size=4, threads=2, numbers=numbers)
        assert faster.number_format == name
        assert faster.shards[0].parent != exact.shards[0].parent
        assert worst_cosine(load_embeddings(faster)[:], live) >= MIN_COSINE


def choose_faster(backbone: Backbone, sample: Pixels) -> str:
    """Return what is chosen among the formats that are not exact, whatever it gains here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose_precision, "TIMED_PASSES", 1)
        _, [exact, *measured] = measure_formats(backbone, sample, len(sample), PRECISIONS["auto"])
    assert exact.name == "float32"
    return choose_format(measured, PRECISIONS["auto"])


@pytest.mark.parametrize("kind", KINDS_OF_DATA)
def test_of_every_kind_of_data_the_store_holds_what_the_network_gives(kind: str, tmp_path: Path, photos: Path) -> None:
    backbone = load_backbone("shufflenet_v2_x0_5", "bundled")
    check_stored_is_live(backbone, KINDS_OF_DATA[kind](tmp_path, photos))


def test_of_the_real_mnist_the_store_holds_what_the_network_gives(data_home: Path) -> None:
    backbone = load_backbone("shufflenet_v2_x0_5", "bundled")
    check_stored_is_live(backbone, fetch_dataset(f"idx:{data_home / 'mnist' / 'MNIST' / 'raw'}").images)


def test_of_real_photos_the_store_holds_what_a_real_network_gives(data_home: Path) -> None:
    weights = data_home / "weights" / "mobilenet_v2-imagenet-dequantised-ptq-bnstats.pth"
    images = fetch_dataset(f"folder:{data_home / 'hymenoptera'}").images
    check_stored_is_live(load_backbone("mobilenet_v2", str(weights)), images, range(60, 62))


def test_networks_share_one_reading_where_they_take_the_same_inputs(
    backbone: Backbone, tmp_path: Path, make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_photos(tmp_path / "photos", {"a": 5, "b": 5})
    images = FileImages(tuple(sorted(folder.rglob("*.jpg"))))
    small = replace(load_backbone("shufflenet_v2_x0_5", "bundled"), preprocessing=backbone.preprocessing)
    other = replace(small, preprocessing=replace(small.preprocessing, crop_size=24))
    decoded: Counter[Path] = Counter()

    def decode(file: Path) -> Pixels:
        decoded[file] += 1
        return decode_image(file)

    monkeypatch.setattr(reading, "decode_image", decode)
    reported: list[tuple[int, int]] = []
    records = store_embeddings(
        [backbone, small], images, batch_size=4, threads=1, on_images=lambda *done: reported.append(done)
    )
    assert decoded == dict.fromkeys(images.files, 1)
    assert reported == [(8, 20), (16, 20), (20, 20), (20, 20)]
    for network, record in zip((backbone, small), records, strict=True):
        assert (record.panel, record.computed_images) == (network.name, 10)
        live = np.concatenate([network.embed([images[i] for i in part]) for part in (range(4), range(4, 8), (8, 9))])
        np.testing.assert_array_equal(load_embeddings(record)[:], live)
    again = store_embeddings([backbone, small, other], images, batch_size=4, threads=1)
    assert [record.computed_images for record in again] == [0, 0, 10]
    assert decoded == dict.fromkeys(images.files, 2)
    again[0].shards[1].unlink()
    store_embeddings([backbone, small, other], images, batch_size=4, threads=1)
    assert decoded == {file: 3 if 4 <= index < 8 else 2 for index, file in enumerate(images.files)}


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
    assert (
        mended.describe()
        == "4 of 10 embeddings computed, the others were stored; 1 damaged file(s) in the store were computed again"
    )
    np.testing.assert_array_equal(load_embeddings(mended)[:], expected)
    assert store(backbone, images).describe() == "0 of 10 embeddings computed, the others were stored"


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


@pytest.fixture(scope="module")
def nursery() -> Iterator[IO[str]]:
    """Where processes are asked for; they need not import PyTorch first, which takes seconds."""
    command = [sys.executable, str(Path(__file__).parents[2] / "helpers" / "embed_alone.py")]
    # A process that is copied has none of the threads that matrix products would wait for.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdin
        yield process.stdin


class Neighbour:
    """Another process, which embeds; images of the same number and size are the same."""

    def __init__(self, nursery: IO[str], cache: Path, images: int, images_per_shard: int, **options: int) -> None:
        cache.mkdir(exist_ok=True)
        pipe = cache.with_name(f"pipe-{uuid.uuid4().hex}")
        os.mkfifo(pipe)
        job = {"pipe": str(pipe), "cache": str(cache), "images": images, "images_per_shard": images_per_shard}
        nursery.write(json.dumps(job | options) + "\n")
        nursery.flush()
        self.told = pipe.open(encoding="utf-8")
        if sys.platform == "linux":
            fcntl.fcntl(self.told, fcntl.F_SETPIPE_SZ, 4096)
        self.process = int(self.read())

    def read(self) -> str:
        return self.told.readline().strip()

    def kill(self) -> list[str]:
        """End the process as no process can prevent, and return what it had told before."""
        os.kill(self.process, signal.SIGKILL)
        return self.read_rest()

    def read_rest(self) -> list[str]:
        with self.told:
            return self.told.read().splitlines()

    def finish(self) -> tuple[int, list[Path]]:
        told = json.loads(self.read_rest()[-1])
        return told["computed"], [Path(shard) for shard in told["shards"]]


def test_two_processes_at_once_compute_each_shard_once(nursery: IO[str], cache: Path, tmp_path: Path) -> None:
    both = [Neighbour(nursery, cache, 80, 8), Neighbour(nursery, cache, 80, 8)]
    # Listened to at once: one whose pipe is full would stop, and the other would wait for its shard.
    with ThreadPoolExecutor() as listeners:
        (one, shards), (other, same) = listeners.map(Neighbour.finish, both)
    assert one + other == 80
    assert shards == same
    contents = [shard.read_bytes() for shard in shards]
    assert not list(shards[0].parent.glob("*.lock"))
    computed, shards = Neighbour(nursery, tmp_path / "alone", 80, 8).finish()
    assert computed == 80
    assert [shard.read_bytes() for shard in shards] == contents


def test_a_killed_process_blocks_nobody(nursery: IO[str], cache: Path) -> None:
    killed = Neighbour(nursery, cache, 80, 40)
    assert killed.read() == "4 of 80"
    # It is at both files, as it reads ahead; the pipe is full before it is done with the first.
    second = Neighbour(nursery, cache, 80, 40)
    killed.kill()
    computed, shards = second.finish()
    assert (computed, len(shards)) == (80, 2)


def list_files(cache: Path) -> dict[str, bytes]:
    return {str(file.relative_to(cache)): file.read_bytes() for file in cache.rglob("*") if file.is_file()}


def test_ten_kills_change_no_byte_of_the_store(nursery: IO[str], cache: Path, tmp_path: Path) -> None:
    job = {"images": 2000, "images_per_shard": 50, "side": 8, "batch_size": 20}
    computed, shards = Neighbour(nursery, tmp_path / "uninterrupted", **job).finish()
    assert (computed, len(shards)) == (2000, 40)
    rng = np.random.default_rng(0)
    stored = []
    for _ in range(10):
        killed = Neighbour(nursery, cache, **job)
        # Three batches of about 10 ms make a file. With the five that fit into the pipe, ten times six are not all.
        for _ in range(rng.integers(0, 7)):
            killed.read()
        time.sleep(rng.uniform(0.0, 0.01))
        told = killed.kill()
        assert not any("shards" in line for line in told), "it was done before it was killed"
        stored.append(len(list(cache.rglob("embeddings/*/[!.]*.npy"))))
    assert stored == sorted(stored)
    assert 0 < stored[-1] < 40
    computed, again = Neighbour(nursery, cache, **job).finish()
    assert computed == 2000 - 50 * stored[-1]
    assert [shard.relative_to(cache) for shard in again] == [
        shard.relative_to(tmp_path / "uninterrupted") for shard in shards
    ]
    expected, found = list_files(tmp_path / "uninterrupted"), list_files(cache)
    # What was being written at the time of a kill stays under a name of its own; so does the empty lock of a file
    # that was just complete.
    leftovers = {name: found.pop(name) for name in found.keys() - expected.keys()}
    assert found == expected
    assert len(leftovers) <= 10
    for name, content in leftovers.items():
        assert Path(name).name.startswith(".") or (Path(name).suffix == ".lock" and content == b"")


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
