"""Have another work pool train and evaluate a panel, and collect the results that it logged."""

from __future__ import annotations

from triptych.errors import RemotePanelError
from triptych.evaluation.report import EvaluatedPanel
from triptych.orchestration import long_step, start_remote, step, wait_for_remote
from triptych.orchestration.remote import write_order
from triptych.system.progress import tracking
from triptych.tracking.artifacts import load_evaluation
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.runs import find_trained
from triptych.tracking.sharing.finished import find_shared
from triptych.training.jobs import PanelJob


@step("send {panel} away")
def send_panel(comparison: ComparisonRecord, panel: str) -> str:
    """Start the flow `panel` on the panel's work pool; return the id of the flow run."""
    order = write_order(comparison, panel).model_dump(mode="json")
    deployment = f"panel/{comparison.prepared.config.find_pool(panel)}"
    return start_remote(deployment, {"order": order}, f"{comparison.comparison}-{panel}")


@long_step("collect {job.run_label}")
def collect_panel(comparison: ComparisonRecord, job: PanelJob, flow_run_id: str) -> EvaluatedPanel:
    """Wait for the flow run of another work pool, and return the metrics that it logged for a repeat of the panel.

    Raises:
        RemotePanelError: the flow run failed, or logged no metrics.
    """
    with tracking(f"{job.run_label}, on another work pool", passing=True):
        wait_for_remote(flow_run_id)
    trained = find_trained(comparison, job) or find_shared(comparison, job)
    metrics = load_evaluation(trained.run_id) if trained else None
    if trained is None or metrics is None:
        raise RemotePanelError(f"flow run {flow_run_id} is completed, but MLflow has no metrics of {job.run_label}")
    return trained.with_metrics(metrics)
