"""What enters a frozen network's last layer, computed once per image and stored.

The store is content-addressed. A space (a folder) is named by the hash of weights, transform, cut layer and
number format; a shard in it (a file of some consecutive images) by the hash of its images' bytes. A killed
run goes on at the first missing shard, a changed image invalidates its own shard only, a damaged shard is
computed again, and runs side by side divide the missing shards among themselves.
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
from triptych.transfer.store import EmbeddingSpace, Shard, list_shards

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
    """Compute the shards that the store lacks or holds damaged, and prove all others by their checksums.

    Networks with the same preprocessing share one reading of the images. Shards that another process is
    computing are left to it and waited for.

    Args:
        backbones: the frozen networks, in the number formats that they are to be computed in.
        images: the raw images.
        batch_size: images that pass through a network at once; a GPU takes those of a shard at once.
        threads: threads of a network.
        numbers: which shards to provide; None means all.
        on_images: called with the number of embeddings done and the number of all.

    Returns:
        For each network a record of the shards asked for.
    """
    started = time.perf_counter()
    torch.set_num_threads(threads)
    spaces = [EmbeddingSpace.of(backbone) for backbone in backbones]
    shards = list_shards(spaces, images, numbers)
    provide_shards(shards, images, batch_size, on_images)
    # What the networks share, above all the reading of the images, is divided among them.
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
    """Find or compute some shards; what another process is computing is waited for."""
    total = sum(len(shard.indices) for shard in shards)
    missing = list(shards)
    while True:
        missing = [shard for shard in missing if not shard.space.find(shard)]
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
    """Compute those shards that no other process is at, and return them."""
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
                    computed += claim.write()
                    images.release()
    return computed


@dataclass(eq=False)
class _Claim:
    """Shards of the same images that are this process's to compute.

    Attributes:
        shards: one for each network that lacks it.
        locks: released when the shards are written.
        parts: for each shard the embeddings so far, where they were computed.
    """

    shards: list[Shard]
    locks: ExitStack
    parts: list[list[torch.Tensor]]

    @property
    def indices(self) -> range:
        """The images."""
        return self.shards[0].indices

    @property
    def is_whole(self) -> bool:
        """Whether every image has passed every network."""
        return sum(len(part) for part in self.parts[-1]) == len(self.indices)

    def embed(self, crops: Pixels) -> int:
        """Send some images through the networks, and return the number of embeddings; a GPU may be at it still."""
        for shard, parts in zip(self.shards, self.parts, strict=True):
            started = time.perf_counter()
            parts.append(shard.space.backbone.launch(crops))
            shard.space.seconds += time.perf_counter() - started
        return len(crops) * len(self.shards)

    def write(self) -> list[Shard]:
        """Write the shards, let others have them, and return them."""
        for shard, parts in zip(self.shards, self.parts, strict=True):
            started = time.perf_counter()
            rows = fetch(torch.cat(parts))
            shard.space.seconds += time.perf_counter() - started
            shard.space.computed += len(rows)
            write_shard(shard.file, rows)
        self.locks.close()
        return self.shards


def _claim(shards: Sequence[Shard], locks: ExitStack) -> Iterator[_Claim]:
    """Yield what is to be computed and free, locked only when its turn comes."""
    for _, same_images in groupby(shards, key=lambda shard: shard.indices):
        held = locks.enter_context(ExitStack())
        # What is found after all, another process has computed meanwhile.
        free = [s for s in same_images if held.enter_context(try_lock(s.file)) and not s.space.find(s)]
        if free:
            for shard in free:
                shard.space.describe()
            yield _Claim(free, held, [[] for _ in free])
        else:
            held.close()


def _read_batches(
    claims: Iterable[_Claim], pool: Executor, images: ImageSource, preprocessing: Preprocessing, batch_size: int
) -> Iterator[tuple[_Claim, Pixels]]:
    """Yield batches (n, crop, crop, 3) uint8, each of one claim, while those after them are being read."""

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
    """Yield the embeddings of some images batch by batch, (batch, dimension) float32; images are read ahead."""
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
