"""Embeddings, the outputs of a frozen backbone, computed once per image and stored.

The store is content-addressed. A space (a folder) is named by the hash of weights, transform, cut layer and number
format; a shard (a file in it, of consecutive images) by the hash of its images' bytes. A killed run continues at the
first missing shard, a changed image invalidates only its own shard, a damaged shard is computed again, and concurrent
runs divide the missing shards among themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from triptych.images.pixels import Pixels
from triptych.images.prefetch import AHEAD, crop_image, map_ahead, open_readers
from triptych.images.preprocessing import Preprocessing
from triptych.images.sources import ImageSource
from triptych.networks.backbones import Backbone, fetch
from triptych.system.threads import count_cores
from triptych.transfer.records import EmbeddingRecord, Embeddings
from triptych.transfer.shards import POLL_SECONDS, try_lock, write_shard
from triptych.transfer.store import EmbeddingSpace, Shard, list_shards, require_same_images

OnImages = Callable[[int, int], None]


def store_embeddings(
    backbones: Sequence[Backbone],
    images: ImageSource,
    *,
    batch_size: int,
    threads: int,
    numbers: range | None = None,
    on_images: OnImages = lambda done, total: None,
) -> list[EmbeddingRecord]:
    """Compute the shards that are missing or damaged, and verify the checksums of the others.

    Backbones with the same preprocessing share one pass over the images. A shard that another process is computing is
    waited for, not computed twice.

    Args:
        backbones: the frozen backbones, each in the number format to compute it in.
        images: the raw images.
        batch_size: images per batch on the CPU; on a GPU a batch is a whole shard.
        threads: threads of PyTorch; sets the global number.
        numbers: indices of the shards to provide; None means all.
        on_images: called with the number of embeddings done so far and their total.

    Returns:
        One record for each backbone, of the requested shards.
    """
    started = time.perf_counter()
    torch.set_num_threads(threads)
    spaces = [EmbeddingSpace.of(backbone) for backbone in backbones]
    shards = list_shards(spaces, images, numbers)
    provide_shards(shards, images, batch_size, on_images)
    # The rest of the time, mostly spent on reading images, is divided equally among the backbones.
    shared = (time.perf_counter() - started - sum(space.seconds for space in spaces)) / len(spaces)
    return [_record(space, [shard for shard in shards if shard.space is space], shared) for space in spaces]


def _record(space: EmbeddingSpace, shards: Sequence[Shard], shared_seconds: float) -> EmbeddingRecord:
    return EmbeddingRecord(
        shards=tuple(shard.file for shard in shards),
        backbone_digest=space.digest,
        images=sum(len(shard.indices) for shard in shards),
        computed_images=space.computed,
        seconds=space.seconds + shared_seconds,
        damaged_shards=tuple(space.damaged),
        number_format=space.backbone.number_format,
        panel=space.backbone.name,
    )


def provide_shards(shards: Sequence[Shard], images: ImageSource, batch_size: int, on_images: OnImages) -> None:
    """Verify or compute shards, and wait for those that another process is computing.

    Args:
        shards: all shards of the same images in a row.
        images: the raw images.
        batch_size: images per batch on the CPU.
        on_images: called with the number of embeddings done so far and their total.
    """
    total = sum(len(shard.indices) for shard in shards)
    missing = list(shards)
    while True:
        missing = [shard for shard in missing if not shard.space.verify(shard)]
        done = total - sum(len(shard.indices) for shard in missing)
        if done:
            on_images(done, total)
        if not missing:
            return

        def report(begun: int, done: int = done) -> None:
            on_images(done + begun, total)

        computed = _compute_free(missing, images, batch_size, report)
        missing = [shard for shard in missing if shard not in computed]
        if missing and not computed:
            time.sleep(POLL_SECONDS)


def _compute_free(
    shards: Sequence[Shard], images: ImageSource, batch_size: int, on_begun: Callable[[int], None]
) -> list[Shard]:
    """Compute the shards that no other process is computing, and return them."""
    groups: dict[Preprocessing, list[Shard]] = {}
    for shard in shards:
        groups.setdefault(shard.space.backbone.preprocessing, []).append(shard)
    computed: list[Shard] = []
    begun = 0
    for preprocessing, group in groups.items():
        with ExitStack() as locks, open_readers(images, sum(len(shard.indices) for shard in group)) as pool:
            claims = _claim(group, locks)
            for claim, crops in _read_batches(claims, pool, images, preprocessing, batch_size):
                begun += claim.embed(crops)
                on_begun(begun)
                if claim.is_whole:
                    require_same_images(claim.shards[0], images)
                    computed += claim.write()
                    images.release()
    return computed


@dataclass(eq=False)
class _Claim:
    """Shards of the same images that this process has locked in order to compute them.

    Attributes:
        shards: one for each backbone whose shard is missing.
        locks: the locks on the shards, released when they are written.
        parts: for each shard the batches of embeddings so far, (batch, dimension) float32, on the backbone's device.
    """

    shards: list[Shard]
    locks: ExitStack
    parts: list[list[torch.Tensor]]

    @property
    def indices(self) -> range:
        """The indices of the images."""
        return self.shards[0].indices

    @property
    def is_whole(self) -> bool:
        """Whether every image has passed through every backbone."""
        return sum(len(part) for part in self.parts[-1]) == len(self.indices)

    def embed(self, crops: Pixels) -> int:
        """Embed images, (n, crop, crop, 3) uint8, with every backbone; return the number of embeddings.

        On a GPU the computation is only launched.
        """
        for shard, parts in zip(self.shards, self.parts, strict=True):
            started = time.perf_counter()
            parts.append(shard.space.backbone.launch(crops))
            shard.space.seconds += time.perf_counter() - started
        return len(crops) * len(self.shards)

    def write(self) -> list[Shard]:
        """Write the shards, release their locks and return them."""
        for shard, parts in zip(self.shards, self.parts, strict=True):
            started = time.perf_counter()
            rows = fetch(torch.cat(parts))
            shard.space.seconds += time.perf_counter() - started
            shard.space.computed += len(rows)
            write_shard(shard.file, rows)
        self.locks.close()
        return self.shards


def _claim(shards: Sequence[Shard], locks: ExitStack) -> Iterator[_Claim]:
    """Lock and yield the shards that nobody else is computing, those of the same images together.

    A shard is locked only when it is reached, so that concurrent processes divide the work.
    """
    for _, same_images in groupby(shards, key=lambda shard: shard.indices):
        held = locks.enter_context(ExitStack())
        claimed: list[Shard] = []
        for shard in same_images:
            locked = held.enter_context(try_lock(shard.file))
            # Another process may have finished the shard just before it was locked here.
            if locked and not shard.space.verify(shard):
                shard.space.describe()
                claimed.append(shard)
        if claimed:
            yield _Claim(claimed, held, [[] for _ in claimed])
        else:
            held.close()


def _read_batches(
    claims: Iterable[_Claim], pool: Executor, images: ImageSource, preprocessing: Preprocessing, batch_size: int
) -> Iterator[tuple[_Claim, Pixels]]:
    """Yield each claim's batches, (n, crop, crop, 3) uint8, while the following images are read in advance."""

    def read(item: tuple[_Claim, int]) -> Future[Pixels]:
        return pool.submit(crop_image, images.locate(item[1]), preprocessing)

    wanted = ((claim, index) for claim in claims for index in claim.indices)
    ahead = max(AHEAD * count_cores(), batch_size)
    for claim, crops in groupby(map_ahead(read, wanted, ahead), key=lambda pair: pair[0][0]):
        size = len(claim.indices) if claim.shards[0].space.backbone.device == "cuda" else batch_size
        while batch := [crop for _, crop in islice(crops, size)]:
            yield claim, np.stack(batch)


def compute_embeddings(
    backbone: Backbone, images: ImageSource, indices: Iterable[int], batch_size: int
) -> Iterator[Embeddings]:
    """Yield the embeddings of images batch by batch, (batch, dimension) float32, while images are read in advance.

    Args:
        backbone: the frozen backbone.
        images: the raw images.
        indices: which of them, in this order.
        batch_size: images per batch.
    """
    wanted = list(indices)
    with open_readers(images, len(wanted)) as pool:
        crops = map_ahead(
            lambda index: pool.submit(crop_image, images.locate(index), backbone.preprocessing),
            wanted,
            ahead=max(AHEAD * count_cores(), batch_size),
        )
        while batch := [crop for _, crop in islice(crops, batch_size)]:
            yield backbone.embed_crops(np.stack(batch))


@dataclass(frozen=True)
class LiveEmbeddings:
    """Embeddings that are computed again at every access, as in a usual training loop, instead of being stored.

    Attributes:
        backbone: the frozen backbone.
        images: the raw images.
        indices: (n,) int64, the image of each row.
        batch_size: images per batch.
    """

    backbone: Backbone
    images: ImageSource
    indices: NDArray[np.int64]
    batch_size: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and length of an embedding."""
        return len(self.indices), self.backbone.dimension

    def select(self, rows: NDArray[np.int64]) -> LiveEmbeddings:
        """Return a subset of the rows, given (k,) int64; nothing is computed yet."""
        return replace(self, indices=self.indices[rows])

    def __getitem__(self, rows: Any) -> Embeddings:
        """Compute and return the embeddings of some rows, (len(rows), dimension) float32."""
        wanted = self.indices[rows].tolist()
        return np.concatenate(list(compute_embeddings(self.backbone, self.images, wanted, self.batch_size)))
