"""Train the network written by hand."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from triptych.orchestration import train_in_run
from triptych.panel_jobs import PanelJob
from triptych.panels import fit_mlp
from triptych.tracking import ComparisonRecord, TrainedPanel


@task(task_run_name="train {job.run_label}", cache_policy=NO_CACHE)
def train_numpy_mlp(comparison: ComparisonRecord, job: PanelJob, embedded: None = None) -> TrainedPanel:
    """Train `numpy-mlp` once; it needs no embeddings."""
    del embedded
    return train_in_run(comparison, job, fit_mlp)
