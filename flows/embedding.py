"""Embed the images of a board once, where its flow's tasks run: in this process, or shard by shard on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect import unmapped
from prefect.futures import PrefectFuture

from tasks.embed import collect_embeddings, embed_shards, plan_embedding
from triptych.orchestration import share_shards
from triptych.tracking import ComparisonRecord, StudyRecord
from triptych.transfer.records import EmbeddingRecord

Records = dict[str, EmbeddingRecord]


@dataclass(frozen=True)
class SubmittedEmbedding:
    """Embedding that is under way.

    Attributes:
        panels: which panels it is for.
        records: for each of them the record of its embeddings, when all is done.
        steps: everything that this depends on.
    """

    panels: Sequence[str] = ()
    records: PrefectFuture[Records] | None = None
    steps: list[PrefectFuture[Any]] = field(default_factory=list)

    def needed_by(self, panel: str) -> PrefectFuture[Records] | None:
        """Return what a panel has to wait for; the others train meanwhile."""
        return self.records if panel in self.panels else None

    def steps_of(self, panel: str) -> list[PrefectFuture[Any]]:
        """Return everything that has to be done before a panel can be trained."""
        return self.steps if panel in self.panels else []


def submit_embedding(opened: ComparisonRecord | StudyRecord) -> SubmittedEmbedding:
    """Choose the number formats, compute the shards, and collect the records; nothing where no panel needs it."""
    if not opened.backbones:
        return SubmittedEmbedding()
    plan = plan_embedding.submit(opened)
    shards = embed_shards.map(unmapped(opened), share_shards(opened.prepared), unmapped(plan))
    records = collect_embeddings.submit(opened, plan, shards)
    return SubmittedEmbedding(opened.backbones, records, [plan, *shards, records])
