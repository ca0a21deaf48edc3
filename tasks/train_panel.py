"""Train one repeat of a panel."""

from __future__ import annotations

from triptych.orchestration import long_step, train_in_run
from triptych.tracking.records import ComparisonRecord, TrainedPanel
from triptych.training.jobs import PanelJob
from triptych.transfer.records import BoardEmbeddings


@long_step("train {job.run_label}")
def train_panel(comparison: ComparisonRecord, job: PanelJob, embedded: BoardEmbeddings | None) -> TrainedPanel:
    """Train a panel once.

    Args:
        comparison: the comparison that it belongs to.
        job: the panel and its repeat.
        embedded: the embeddings of the board; None if the panel needs none.
    """
    return train_in_run(comparison, job, embedded.record_of(job.panel) if embedded else None)
