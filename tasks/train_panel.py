"""Train one repeat of a panel."""

from __future__ import annotations

from collections.abc import Mapping

from prefect import task

from triptych.orchestration import LONG_STEP, train_in_run
from triptych.tracking import ComparisonRecord, TrainedPanel
from triptych.training.jobs import PanelJob
from triptych.transfer.records import EmbeddingRecord


@task(task_run_name="train {job.run_label}", **LONG_STEP)
def train_panel(
    comparison: ComparisonRecord, job: PanelJob, embedded: Mapping[str, EmbeddingRecord] | None
) -> TrainedPanel:
    """Train a panel once.

    Args:
        comparison: the comparison that it belongs to.
        job: the panel and its repeat.
        embedded: the records of the embeddings by panel; None where it needs none.
    """
    return train_in_run(comparison, job, (embedded or {}).get(job.panel))
