"""What enters a frozen network's last layer, computed once per image and stored.

The store is content-addressed. A space (a folder) is named by the hash of weights, transform, cut layer and
number format; a shard in it (a file of some consecutive images) by the hash of its images' bytes. A killed
run goes on at the first missing shard, and a changed image invalidates its own shard only.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from triptych.backbones import Backbone, describe_preprocessing
from triptych.embedding_record import EmbeddingRecord, Embeddings
from triptych.files import replace_atomically
from triptych.images import ImageSource, iterate_slices
from triptych.paths import cache_home

OnImages = Callable[[int, int], None]

IMAGES_PER_SHARD = 256
PREPROCESSING_THREADS = 2
NUMBER_FORMAT = "float32"
# Part of the key: a change of how images are read must not find the old embeddings.
READING_METHOD = "rgb-upright-white-2"


def store_embeddings(
    backbone: Backbone,
    images: ImageSource,
    *,
    batch_size: int,
    threads: int,
    on_images: OnImages = lambda done, total: None,
) -> EmbeddingRecord:
    """Compute the shards that the store lacks, each written atomically.

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
    shards, computed = [], 0
    for part in iterate_slices(len(images), IMAGES_PER_SHARD):
        indices = range(part.start, part.stop)
        shard = space / f"{_identify_images(images, indices)}.npy"
        if not shard.is_file():
            computed += len(indices)
            _write_shard(shard, backbone, images, indices, batch_size, on_images)
        shards.append(shard)
        on_images(part.stop, len(images))
    return EmbeddingRecord(tuple(shards), digest, len(images), computed, time.perf_counter() - started)


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
    described = {
        "network": backbone.name,
        "weights": digest,
        "transform": describe_preprocessing(backbone.preprocessing),
        "cut_layer": backbone.cut_layer,
        "number_format": NUMBER_FORMAT,
        "reading": READING_METHOD,
    }
    return f"{backbone.name}-{hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]}"


def _identify_images(images: ImageSource, indices: range) -> str:
    digest = hashlib.sha256()
    for index in indices:
        digest.update(hashlib.sha256(images.read_bytes(index)).digest())
    return digest.hexdigest()[:32]


def _write_shard(
    shard: Path, backbone: Backbone, images: ImageSource, indices: range, batch_size: int, on_images: OnImages
) -> None:
    rows = np.empty((len(indices), backbone.dimension), dtype=np.float32)
    done = 0
    for embeddings in compute_embeddings(backbone, images, indices, batch_size):
        rows[done : done + len(embeddings)] = embeddings
        done += len(embeddings)
        on_images(indices.start + done, len(images))
    assert done == len(indices), "every image has an embedding"  # noqa: S101 - a shard must never have holes
    with replace_atomically(shard) as partial:
        np.save(partial, rows)
