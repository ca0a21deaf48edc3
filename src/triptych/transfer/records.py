"""Records of stored embeddings, and reading them as one array; imports no PyTorch."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from triptych.transfer.shards import MappedShard

Embeddings = NDArray[np.float32]

IMAGES_PER_SHARD = 256

# A selection up to this size is copied into memory: taking batches from one array is faster than from many files.
COPIED_BYTES = 64 * 2**20
# Pages that were read count as the process's memory until they are released, after this many rows. The system maps
# up to 64 KiB around an isolated row, so unreleased pages take at most 64 MiB.
ROWS_BETWEEN_RELEASES = 1024


class Run(NamedTuple):
    """Rows of a file of embeddings, in the order of the images of a data set.

    Attributes:
        file: the file.
        start: the first row.
        stop: the row after the last one.
    """

    file: Path
    start: int
    stop: int


def count_shards(images: int) -> int:
    """Return the number of parts that the images of a data set are embedded in, one file each in an empty store.

    >>> count_shards(256), count_shards(257)
    (1, 2)
    """
    return -(-images // IMAGES_PER_SHARD)


@dataclass(frozen=True)
class EmbeddingRecord:
    """The stored embeddings of one backbone; tasks pass it on in place of the arrays.

    Attributes:
        runs: the rows of files that hold the embeddings, in the order of the images.
        backbone_digest: SHA-256 of the backbone's parameters and buffers, hexadecimal, taken before embedding.
        images: number of images.
        computed_images: how many of them were computed; the others were in the store already.
        seconds: time taken to verify and compute the shards.
        damaged_shards: files that were damaged and have been computed again.
        number_format: the format that they were computed in, a row of `triptych.networks.precision.FORMATS`.
        reason: why this format was chosen, as text for the reader.
        panel: the panel that the backbone belongs to.
        contents: the SHA-256 of the embeddings of each 256 images, hexadecimal, whatever files they are in.
    """

    runs: tuple[Run, ...]
    backbone_digest: str
    images: int
    computed_images: int
    seconds: float
    damaged_shards: tuple[Path, ...] = ()
    number_format: str = "float32"
    reason: str = ""
    panel: str = ""
    contents: tuple[str, ...] = ()

    @property
    def shards(self) -> tuple[Path, ...]:
        """The files, in the order of the first image of each."""
        return tuple(dict.fromkeys(run.file for run in self.runs))

    def describe(self) -> str:
        """Return as text how many embeddings were computed.

        >>> EmbeddingRecord((), "", images=10, computed_images=4, seconds=0.1).describe()
        '4 computed, 6 already stored'
        """
        text = f"{self.computed_images} computed, {self.images - self.computed_images} already stored"
        damaged = len(self.damaged_shards)
        return f"{text}; {damaged} damaged file(s) computed again" if damaged else text

    def join(self, following: EmbeddingRecord) -> EmbeddingRecord:
        """Return one record of these images and of those that follow them."""
        return replace(
            self,
            runs=self.runs + following.runs,
            contents=self.contents + following.contents,
            images=self.images + following.images,
            computed_images=self.computed_images + following.computed_images,
            seconds=self.seconds + following.seconds,
            damaged_shards=self.damaged_shards + following.damaged_shards,
        )


@dataclass(frozen=True)
class PlannedNetwork:
    """The number format that was chosen for one backbone.

    Attributes:
        number_format: a row of `triptych.networks.precision.FORMATS`.
        reason: why it was chosen, as text for the reader.
        seconds: time taken to choose it.
    """

    number_format: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class EmbeddingPlan:
    """The number formats of all backbones of a board, chosen before anything is embedded.

    Attributes:
        networks: the format of each panel's backbone, by panel.
        failures: why a panel's backbone cannot be used, by panel.
    """

    networks: dict[str, PlannedNetwork]
    failures: dict[str, Exception] = field(default_factory=dict)


@dataclass(frozen=True)
class BoardEmbeddings:
    """The stored embeddings of all backbones of a board. A backbone that fails leaves the others as they are.

    Attributes:
        records: the records by panel.
        failures: why the images could not be embedded with a panel's backbone, by panel.
    """

    records: dict[str, EmbeddingRecord]
    failures: dict[str, Exception] = field(default_factory=dict)

    def record_of(self, panel: str) -> EmbeddingRecord:
        """Return the record of a panel.

        Raises:
            Exception: the panel has none; it is the error of its backbone.
        """
        if panel in self.failures:
            raise self.failures[panel]
        return self.records[panel]


def collect_embeddings(plan: EmbeddingPlan, parts: Sequence[BoardEmbeddings]) -> BoardEmbeddings:
    """Return one record for each panel, joined from the records of consecutive parts of the images.

    Args:
        plan: the number formats, whose reasons and seconds are added.
        parts: the records of each part, in the order of the images.
    """
    failures = reduce(operator.or_, (part.failures for part in parts), plan.failures)
    records = {}
    for panel in plan.networks.keys() - failures.keys():
        planned = plan.networks[panel]
        whole = reduce(EmbeddingRecord.join, (part.records[panel] for part in parts))
        records[panel] = replace(whole, seconds=whole.seconds + planned.seconds, reason=planned.reason)
    return BoardEmbeddings(records, failures)


class MappedShards:
    """Memory-mapped files of embeddings; pages that were read are released again and again, to save memory.

    Attributes:
        shards: the files.
        owners: (n,) int32, for each image the index of its file.
        rows: (n,) int64, its row in the file.
        dimension: length of an embedding.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        """Map the files; nothing is read yet."""
        numbers = {file: number for number, file in enumerate(dict.fromkeys(run.file for run in runs))}
        self.shards = [MappedShard(file) for file in numbers]
        lengths = [run.stop - run.start for run in runs]
        self.owners = np.repeat(np.array([numbers[run.file] for run in runs], dtype=np.int32), lengths)
        shifts = np.array([run.start for run in runs]) - np.cumsum([0, *lengths[:-1]])
        self.rows: NDArray[np.int64] = np.arange(len(self.owners)) + np.repeat(shifts, lengths)
        self.dimension: int = self.shards[0].rows.shape[1]
        self._rows_read = 0

    def copy_rows(self, images: NDArray[np.int64]) -> Embeddings:
        """Return copies of the embeddings of images (n,) int64: (n, dimension) float32."""
        copied = np.empty((len(images), self.dimension), dtype=np.float32)
        owners, rows = self.owners[images], self.rows[images]
        order = np.argsort(owners, kind="stable")
        for here in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1) if len(order) else ():
            copied[here] = self.shards[owners[here[0]]].rows[rows[here]]
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
    """Stored embeddings that are indexed like one array; they are memory-mapped and may exceed the memory.

    Attributes:
        mapped: the files.
        indices: (n,) int64, the image of each row.
    """

    mapped: MappedShards
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and length of an embedding."""
        return len(self.indices), self.mapped.dimension

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Number format."""
        return np.dtype(np.float32)

    def select(self, rows: Any) -> ShardedEmbeddings | Embeddings:
        """Return some of the rows: an array if it is small, else embeddings that stay on disk.

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
            raise ValueError("embeddings in files cannot become an array without copying: leave out copy=False")
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)


def load_embeddings(record: EmbeddingRecord) -> ShardedEmbeddings:
    """Return the stored embeddings, (n, dimension) float32, in the order of the images; nothing is read yet."""
    mapped = MappedShards(record.runs)
    return ShardedEmbeddings(mapped, np.arange(len(mapped.rows)))
