"""Records of stored embeddings; imports no PyTorch."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from triptych.config.names import list_parts
from triptych.data.shards import files as shard_files
from triptych.data.shards.places import Run
from triptych.data.shards.rows import ShardedRows
from triptych.data.shards.side_by_side import SideBySideRows

Embeddings = NDArray[np.float32]
StoredRows: TypeAlias = ShardedRows | SideBySideRows
# Between what belongs to each of the networks that a panel combines.
COMBINED = " + "


def count_shards(images: int) -> int:
    """Return the number of parts that the images of a data set are embedded in, one file each in an empty store.

    >>> count_shards(256), count_shards(257)
    (1, 2)
    """
    return -(-images // shard_files.IMAGES_PER_SHARD)


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
        parts: the records of the networks that a panel combines; empty for a single one.
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
    parts: tuple[EmbeddingRecord, ...] = ()

    @property
    def each(self) -> tuple[EmbeddingRecord, ...]:
        """The records of single networks."""
        return self.parts or (self,)

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

    @classmethod
    def combine(cls, panel: str, parts: Sequence[EmbeddingRecord]) -> EmbeddingRecord:
        """Return the record of a panel that combines the networks of several; of one, its own."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            runs=tuple(run for part in parts for run in part.runs),
            contents=tuple(content for part in parts for content in part.contents),
            backbone_digest=COMBINED.join(part.backbone_digest for part in parts),
            images=parts[0].images,
            computed_images=max(part.computed_images for part in parts),
            seconds=sum(part.seconds for part in parts),
            damaged_shards=tuple(file for part in parts for file in part.damaged_shards),
            number_format=COMBINED.join(part.number_format for part in parts),
            reason="; ".join(f"{part.panel}: {part.reason}" for part in parts),
            panel=panel,
            parts=tuple(parts),
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
        parts = list_parts(panel)
        for part in parts:
            if part in self.failures:
                raise self.failures[part]
        return EmbeddingRecord.combine(panel, [self.records[part] for part in parts])


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


def load_embeddings(record: EmbeddingRecord) -> StoredRows:
    """Return the stored embeddings, (n, dimension) float32, in the order of the images; nothing is read yet.

    Those of a panel that combines several networks are side by side.
    """
    rows = [ShardedRows.of(one.runs) for one in record.each]
    return rows[0] if len(rows) == 1 else SideBySideRows(tuple(rows))
