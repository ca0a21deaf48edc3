"""Embed the images of a board once, in the process of the flow or, shard by shard, on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect import unmapped
from prefect.futures import PrefectFuture

from tasks.embed import embed_shards, join_embeddings, plan_embedding
from triptych.orchestration import share_shards
from triptych.tracking.records import ComparisonRecord, StudyRecord
from triptych.transfer.records import BoardEmbeddings


@dataclass(frozen=True)
class SubmittedEmbedding:
    """The tasks of an embedding, as submitted.

    Attributes:
        panels: the panels with a backbone.
        records: their embeddings; None if no panel has a backbone.
        steps: all tasks of the embedding.
    """

    panels: Sequence[str] = ()
    records: PrefectFuture[BoardEmbeddings] | None = None
    steps: list[PrefectFuture[Any]] = field(default_factory=list)

    def needed_by(self, panel: str) -> PrefectFuture[BoardEmbeddings] | None:
        """Return the records if a panel needs them, else None, so that it is trained without waiting."""
        return self.records if panel in self.panels else None

    def steps_of(self, panel: str) -> list[PrefectFuture[Any]]:
        """Return the tasks that a panel depends on."""
        return self.steps if panel in self.panels else []

    def collect(self) -> BoardEmbeddings:
        """Return the records once the tasks have ended; none if one of them failed."""
        found = self.records.result(raise_on_failure=False) if self.records else None
        return found if isinstance(found, BoardEmbeddings) else BoardEmbeddings({})


def submit_embedding(opened: ComparisonRecord | StudyRecord) -> SubmittedEmbedding:
    """Choose the number formats, embed the shards and collect the records; do nothing if no panel has a backbone."""
    if not opened.backbones:
        return SubmittedEmbedding()
    plan = plan_embedding.submit(opened)
    shards = embed_shards.map(unmapped(opened), share_shards(opened.prepared), unmapped(plan))
    records = join_embeddings.submit(plan, shards)
    return SubmittedEmbedding(opened.backbones, records, [plan, *shards, records])
