"""Let the machines of another work pool train and evaluate a panel, and collect what they logged."""

from __future__ import annotations

from triptych.errors import RemotePanelError
from triptych.evaluation.report import EvaluatedPanel
from triptych.orchestration import long_step, start_remote, step, wait_for_remote
from triptych.orchestration.remote import write_order
from triptych.tracking import ComparisonRecord, find_trained, load_evaluation
from triptych.training.jobs import PanelJob


@step("send {panel} away")
def send_panel(comparison: ComparisonRecord, panel: str) -> str:
    """Start the flow `panel` on a machine of the panel's work pool; return the flow run's id."""
    order = write_order(comparison, panel).model_dump(mode="json")
    deployment = f"panel/{comparison.prepared.config.find_pool(panel)}"
    return start_remote(deployment, {"order": order}, f"{comparison.comparison}-{panel}")


@long_step("collect {job.run_label}")
def collect_panel(comparison: ComparisonRecord, job: PanelJob, sent: str) -> EvaluatedPanel:
    """Wait for the flow run that was sent away, and read what it logged of a repeat of the panel."""
    wait_for_remote(sent)
    trained = find_trained(comparison, job)
    metrics = load_evaluation(trained.run_id) if trained else None
    if trained is None or metrics is None:
        raise RemotePanelError(f"flow run {sent} is completed, but MLflow has no evaluation of {job.run_label}")
    return trained.with_metrics(metrics)
