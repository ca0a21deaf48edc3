"""Train the network written by hand."""

from __future__ import annotations

from prefect import task

from triptych.orchestration import LONG_STEP, train_in_run
from triptych.panels.mlp import fit_mlp
from triptych.tracking import ComparisonRecord, TrainedPanel
from triptych.training.jobs import PanelJob


@task(task_run_name="train {job.run_label}", **LONG_STEP)
def train_numpy_mlp(comparison: ComparisonRecord, job: PanelJob, embedded: None = None) -> TrainedPanel:
    """Train `numpy-mlp` once; it needs no embeddings."""
    del embedded
    return train_in_run(comparison, job, fit_mlp)
