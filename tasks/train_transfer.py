"""Embed every image once, then train new last layers on the embeddings."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from triptych.boards import load_board
from triptych.embedding_record import EmbeddingRecord
from triptych.orchestration import ProgressReporter, train_in_run
from triptych.panel_jobs import PanelJob
from triptych.panels import embed_board, fit_transfer
from triptych.tracking import ComparisonRecord, StudyRecord, TrainedPanel


@task(task_run_name="embed {panel}", cache_policy=NO_CACHE)
def embed(comparison: ComparisonRecord | StudyRecord, panel: str) -> EmbeddingRecord:
    """Compute what enters the last layer of `panel`, or find it in the store; all repeats use it."""
    report = ProgressReporter(f"{PanelJob(comparison.board, panel, 0).label}: embed")
    record = embed_board(load_board(comparison.board), panel, on_images=report)
    report(record.images, record.images, record.describe())
    for shard in record.damaged_shards:
        get_run_logger().warning("embeddings %s were damaged in the store, and were computed again", shard)
    return record


@task(task_run_name="train {job.run_label}", cache_policy=NO_CACHE)
def train_transfer(comparison: ComparisonRecord, job: PanelJob, embedded: EmbeddingRecord) -> TrainedPanel:
    """Train the last layer of a pretrained network once."""
    trained = train_in_run(comparison, job, partial(fit_transfer, embedded=embedded))
    return replace(trained, embedded=embedded)
