"""Embed every image of a board once with each backbone, for all repeats of the panels."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.logging import get_run_logger

from triptych.errors import describe_error
from triptych.orchestration import long_step, provide_board, reporting
from triptych.panels.kinds import import_embedding
from triptych.system.progress import tracking
from triptych.tracking.records import ComparisonRecord, StudyRecord
from triptych.training.jobs import PanelJob
from triptych.transfer.records import BoardEmbeddings, EmbeddingPlan, collect_embeddings


@long_step("choose the number format of {opened.backbone_names}")
def plan_embedding(opened: ComparisonRecord | StudyRecord) -> EmbeddingPlan:
    """Choose the fastest number format on this machine that is accurate enough, for each backbone by itself."""
    with tracking(f"choose the number format of {opened.backbone_names}", passing=True):
        plan: EmbeddingPlan = import_embedding().plan_board(provide_board(opened.prepared), opened.backbones)
    for panel, planned in plan.networks.items():
        get_run_logger().info("%s is embedded in %s (%s)", panel, planned.number_format, planned.reason)
    for panel, error in plan.failures.items():
        get_run_logger().error("%s is left out: %s", panel, describe_error(error))
    return plan


@long_step("embed {opened.backbone_names} from shard {numbers.start}")
def embed_shards(opened: ComparisonRecord | StudyRecord, numbers: range, plan: EmbeddingPlan) -> BoardEmbeddings:
    """Compute the embeddings of some shards of images, unless they are stored."""
    if not plan.networks:
        return BoardEmbeddings({})
    names = [PanelJob(opened.prepared, panel, 0).label for panel in plan.networks]
    with reporting(f"embed {', '.join(names)}", key=f"shard {numbers.start}") as report:
        data = provide_board(opened.prepared)
        embedded: BoardEmbeddings = import_embedding().embed_board(data, plan, numbers, on_images=report)
        records = embedded.records.values()
        if embeddings := sum(record.images for record in records):
            report(embeddings, embeddings, "; ".join(dict.fromkeys(record.describe() for record in records)))
    return embedded


@long_step("collect embeddings")
def join_embeddings(plan: EmbeddingPlan, parts: Sequence[BoardEmbeddings]) -> BoardEmbeddings:
    """Join the records of all shards into one for each panel."""
    return collect_embeddings(plan, parts)
