"""What enters a frozen network's last layer, computed once per image and stored.

The store is content-addressed. A space (a folder) is named by the hash of weights, transform, cut layer and
number format; a shard in it (a file of some consecutive images) by the hash of its images' bytes. A killed
run goes on at the first missing shard, a changed image invalidates its own shard only, a damaged shard is
computed again, and runs side by side divide the missing shards among themselves.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from triptych.backbones import Backbone, describe_preprocessing
from triptych.embedding_record import EmbeddingRecord, Embeddings
from triptych.files import touch, write_atomically
from triptych.images import ImageSource, iterate_slices
from triptych.paths import cache_home
from triptych.shards import POLL_SECONDS, is_sound, try_lock, write_shard

OnImages = Callable[[int, int], None]

IMAGES_PER_SHARD = 256
# Tells people what a space is of; nothing else reads it.
DESCRIPTION = "space.json"
PREPROCESSING_THREADS = 2
NUMBER_FORMAT = "float32"
# Part of the key: a change of how images are read must not find the old embeddings.
READING_METHOD = "rgb-upright-white-2"
FILE_FORMAT = "npy-sha256"


def store_embeddings(
    backbone: Backbone,
    images: ImageSource,
    *,
    batch_size: int,
    threads: int,
    on_images: OnImages = lambda done, total: None,
) -> EmbeddingRecord:
    """Compute the shards that the store lacks or holds damaged, and prove all others by their checksums.

    Shards that another process is computing are left to it and waited for.

    Args:
        backbone: the frozen network.
        images: the raw images.
        batch_size: images that pass through the network at once.
        threads: threads of the network.
        on_images: called with the number of images done and the number of all.
    """
    started = time.perf_counter()
    torch.set_num_threads(threads)
    digest = backbone.digest()
    space = cache_home() / "embeddings" / identify_space(backbone, digest)
    if not (space / DESCRIPTION).is_file():
        write_atomically(space / DESCRIPTION, _describe_space(backbone, digest).encode())
    store = _Store(backbone, images, space, batch_size, on_images)
    shards: list[_Shard] = []
    busy: list[_Shard] = []
    for part in iterate_slices(len(images), IMAGES_PER_SHARD):
        shards.append(store.locate(range(part.start, part.stop)))
        if not store.provide(shards[-1]):
            busy.append(shards[-1])
    for shard in busy:
        while not store.provide(shard):
            time.sleep(POLL_SECONDS)
            store.report()
    files = tuple(shard.file for shard in shards)
    seconds = time.perf_counter() - started
    return EmbeddingRecord(files, digest, len(images), store.computed, seconds, tuple(store.damaged))


@dataclass(frozen=True)
class _Shard:
    """A file of the store, and the images it is for."""

    file: Path
    indices: range


@dataclass
class _Store:
    """The shards of some images, while they are looked for and computed.

    Attributes:
        backbone: the frozen network.
        images: the raw images.
        space: the folder.
        batch_size: images that pass through the network at once.
        on_images: called with the number of images done and the number of all.
        done: number of images whose embeddings are stored.
        computed: how many of them were computed now.
        damaged: the files that were found damaged.
    """

    backbone: Backbone
    images: ImageSource
    space: Path
    batch_size: int
    on_images: OnImages
    done: int = 0
    computed: int = 0
    damaged: list[Path] = field(default_factory=list)

    def locate(self, indices: range) -> _Shard:
        """Return where the embeddings of consecutive images belong."""
        return _Shard(self.space / f"{_identify_images(self.images, indices)}.npy", indices)

    def provide(self, shard: _Shard) -> bool:
        """Find or compute a shard; return false where another process is computing it."""
        if not self._find(shard):
            with try_lock(shard.file) as locked:
                if not locked:
                    return False
                # Another process may have been faster.
                if not self._find(shard):
                    self._compute(shard)
        self.done += len(shard.indices)
        self.report()
        return True

    def report(self, begun: int = 0) -> None:
        """Tell how many images are done, with those of a shard that is begun."""
        self.on_images(self.done + begun, len(self.images))

    def _find(self, shard: _Shard) -> bool:
        """Return whether a shard is there and sound; a sound one is marked as used now."""
        try:
            sound = is_sound(shard.file, (len(shard.indices), self.backbone.dimension))
        except FileNotFoundError:
            return False
        if sound:
            touch(shard.file)
        elif shard.file not in self.damaged:
            self.damaged.append(shard.file)
        return sound

    def _compute(self, shard: _Shard) -> None:
        """Compute and write a shard."""
        rows = np.empty((len(shard.indices), self.backbone.dimension), dtype=np.float32)
        begun = 0
        for embeddings in compute_embeddings(self.backbone, self.images, shard.indices, self.batch_size):
            rows[begun : begun + len(embeddings)] = embeddings
            begun += len(embeddings)
            self.report(begun)
        assert begun == len(rows), "every image has an embedding"  # noqa: S101 - a shard must never have holes
        write_shard(shard.file, rows)
        self.computed += begun


def compute_embeddings(
    backbone: Backbone, images: ImageSource, indices: Iterable[int], batch_size: int
) -> Iterator[Embeddings]:
    """Yield the embeddings of some images batch by batch, (batch, dimension) float32; images are read ahead."""
    preprocess = backbone.preprocessing.build()
    with ThreadPoolExecutor(PREPROCESSING_THREADS) as pool:
        inputs = pool.map(lambda index: preprocess(images[index]), indices)
        while batch := list(islice(inputs, batch_size)):
            yield backbone.embed(batch)


@dataclass(frozen=True)
class LiveEmbeddings:
    """Embeddings that are computed whenever they are asked for, for the loop of the textbooks.

    Attributes:
        backbone: the frozen network.
        images: the raw images.
        indices: (n,) int64, the images that rows stand for.
        batch_size: images that pass through the network at once.
    """

    backbone: Backbone
    images: ImageSource
    indices: NDArray[np.int64]
    batch_size: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and length of an embedding."""
        return len(self.indices), self.backbone.dimension

    def select(self, rows: NDArray[np.int64]) -> LiveEmbeddings:
        """Return the same for some of the images; nothing is computed yet."""
        return replace(self, indices=self.indices[rows])

    def __getitem__(self, rows: Any) -> Embeddings:
        """Return the embeddings of some rows, (len(rows), dimension) float32."""
        wanted = self.indices[rows].tolist()
        return np.concatenate(list(compute_embeddings(self.backbone, self.images, wanted, self.batch_size)))


def identify_space(backbone: Backbone, digest: str) -> str:
    """Return the name of the folder for everything this network embeds this way."""
    key = json.dumps(_list_dependencies(backbone, digest), sort_keys=True)
    return f"{backbone.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _list_dependencies(backbone: Backbone, digest: str) -> dict[str, Any]:
    """Return everything that an embedding of an image depends on, and how it is stored."""
    return {
        "network": backbone.name,
        "weights": digest,
        "transform": describe_preprocessing(backbone.preprocessing),
        "cut_layer": backbone.cut_layer,
        "number_format": NUMBER_FORMAT,
        "reading": READING_METHOD,
        "file_format": FILE_FORMAT,
    }


def _describe_space(backbone: Backbone, digest: str) -> str:
    """Return what a space holds, as JSON for those who list the cache."""
    described = _list_dependencies(backbone, digest) | {"weights_as_configured": backbone.weights}
    return json.dumps(described, indent=2) + "\n"


def _identify_images(images: ImageSource, indices: range) -> str:
    digest = hashlib.sha256()
    for index in indices:
        digest.update(hashlib.sha256(images.read_bytes(index)).digest())
    return digest.hexdigest()[:32]
