"""Where stored embeddings lie, and how they are read; known to those who hand them on without importing PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.transfer.shards import MappedShard

Embeddings = NDArray[np.float32]

IMAGES_PER_SHARD = 256

# A selection up to this size is copied at once: a batch is then picked from one array instead of from many files.
COPIED_BYTES = 64 * 2**20
# Pages that were read count as the process's memory until they are given back: after this many rows at the latest.
# The system maps 64 KiB around each row that lies alone, so these are at most 64 MiB.
ROWS_BETWEEN_RELEASES = 1024


def count_shards(images: int) -> int:
    """Return the number of files that the embeddings of some images are stored in."""
    return -(-images // IMAGES_PER_SHARD)


@dataclass(frozen=True)
class EmbeddingRecord:
    """What tasks hand each other about stored embeddings.

    Attributes:
        shards: the files, in order of the images.
        backbone_digest: SHA-256 of the frozen network's state before anything was computed.
        images: number of images.
        computed_images: how many of them were computed now; the rest was found in the store.
        seconds: duration of finding and computing.
        damaged_shards: the files that were found damaged and computed again.
        number_format: what the network was computed in.
        reason: why in this format, for people.
        panel: the panel whose network it was.
    """

    shards: tuple[Path, ...]
    backbone_digest: str
    images: int
    computed_images: int
    seconds: float
    damaged_shards: tuple[Path, ...] = ()
    number_format: str = "float32"
    reason: str = ""
    panel: str = ""

    def describe(self) -> str:
        """Return where the embeddings came from, in a few words."""
        told = f"{self.computed_images} computed, the rest found"
        damaged = len(self.damaged_shards)
        return f"{told}; {damaged} damaged file(s) in the store were computed again" if damaged else told

    def join(self, following: EmbeddingRecord) -> EmbeddingRecord:
        """Return this record together with that of the shards that follow."""
        return replace(
            self,
            shards=self.shards + following.shards,
            images=self.images + following.images,
            computed_images=self.computed_images + following.computed_images,
            seconds=self.seconds + following.seconds,
            damaged_shards=self.damaged_shards + following.damaged_shards,
        )


@dataclass(frozen=True)
class PlannedNetwork:
    """How one network is to be computed.

    Attributes:
        number_format: a row of `triptych.networks.precision.FORMATS`.
        reason: why this one, for people.
        seconds: how long it took to find out.
    """

    number_format: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class EmbeddingPlan:
    """What tasks hand each other before anything is embedded.

    Attributes:
        networks: for each panel how its network is to be computed.
    """

    networks: dict[str, PlannedNetwork]


def collect_records(plan: EmbeddingPlan, parts: Sequence[Mapping[str, EmbeddingRecord]]) -> dict[str, EmbeddingRecord]:
    """Return for each panel one record of the shards of all parts, in their order, with the time that planning took."""
    collected = {}
    for panel, planned in plan.networks.items():
        whole = reduce(EmbeddingRecord.join, (part[panel] for part in parts))
        collected[panel] = replace(whole, seconds=whole.seconds + planned.seconds, reason=planned.reason)
    return collected


class MappedShards:
    """The files of some embeddings, memory-mapped, of which few pages are held at a time."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Map the files; nothing is read yet."""
        self.shards = [MappedShard(file) for file in files]
        self.starts = np.cumsum([0, *(len(shard.rows) for shard in self.shards)])
        self.dimension: int = self.shards[0].rows.shape[1]
        self._rows_read = 0

    def copy_rows(self, images: NDArray[np.int64]) -> Embeddings:
        """Return copies of the embeddings of some images, (images, dimension) float32."""
        copied = np.empty((len(images), self.dimension), dtype=np.float32)
        owners = np.searchsorted(self.starts, images, side="right") - 1
        order = np.argsort(owners, kind="stable")
        for here in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1) if len(order) else ():
            owner = owners[here[0]]
            copied[here] = self.shards[owner].rows[images[here] - self.starts[owner]]
        self._release_after(len(images))
        return copied

    def _release_after(self, rows: int) -> None:
        self._rows_read += rows
        if self._rows_read >= ROWS_BETWEEN_RELEASES:
            self._rows_read = 0
            for shard in self.shards:
                shard.release()


@dataclass(frozen=True)
class ShardedEmbeddings:
    """Stored embeddings, memory-mapped, that are read like one array; together they may be larger than memory.

    Attributes:
        mapped: the files, in order of the images.
        indices: (n,) int64, the images that rows stand for.
    """

    mapped: MappedShards
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and length of an embedding."""
        return len(self.indices), self.mapped.dimension

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Number format."""
        return np.dtype(np.float32)

    def select(self, rows: Any) -> ShardedEmbeddings | Embeddings:
        """Return some of the rows: as an array where that is small, else to be read when asked for.

        Args:
            rows: a slice, indices or a boolean mask.
        """
        chosen = replace(self, indices=self.indices[rows])
        return chosen[:] if len(chosen) * chosen.shape[1] * self.dtype.itemsize <= COPIED_BYTES else chosen

    def __getitem__(self, rows: Any) -> Embeddings:
        """Return copies of some rows, (chosen, dimension) float32; of one row, (dimension,).

        Args:
            rows: a slice, indices, a boolean mask or one index.
        """
        chosen = self.indices[rows]
        copied = self.mapped.copy_rows(np.atleast_1d(chosen))
        return copied if np.ndim(chosen) else copied[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001 - NumPy's protocol
        """Return all rows as an array in memory."""
        if copy is False:
            raise ValueError("embeddings in several files become one array only by copying: leave copy=False out")
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)


def load_embeddings(record: EmbeddingRecord) -> ShardedEmbeddings:
    """Return the stored embeddings, (n, dimension) float32, in order of the images; nothing is read yet."""
    mapped = MappedShards(record.shards)
    return ShardedEmbeddings(mapped, np.arange(mapped.starts[-1]))
