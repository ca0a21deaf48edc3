"""Let the machines of another work pool train and evaluate a panel, and collect what they logged."""

from __future__ import annotations

from prefect import task

from triptych.errors import RemotePanelError
from triptych.evaluation.report import EvaluatedPanel
from triptych.orchestration import LONG_STEP, STEP, send_away, wait_for_end
from triptych.orchestration.remote import write_order
from triptych.tracking import ComparisonRecord, find_trained, load_evaluation
from triptych.training.jobs import PanelJob


@task(task_run_name="send {panel} away", **STEP)
def send_panel(comparison: ComparisonRecord, panel: str) -> str:
    """Start the flow `panel` on a machine of the panel's work pool; return the flow run's id."""
    order = write_order(comparison, panel).model_dump(mode="json")
    deployment = f"panel/{comparison.prepared.config.find_pool(panel)}"
    return send_away(deployment, {"order": order}, f"{comparison.comparison}-{panel}")


@task(task_run_name="collect {job.run_label}", **LONG_STEP)
def collect_panel(comparison: ComparisonRecord, job: PanelJob, sent: str) -> EvaluatedPanel:
    """Wait for the flow run that was sent away, and read what it logged of a repeat of the panel."""
    wait_for_end(sent)
    trained = find_trained(comparison, job)
    metrics = load_evaluation(trained.run_id) if trained else None
    if trained is None or metrics is None:
        raise RemotePanelError(f"flow run {sent} is completed, but MLflow has no evaluation of {job.run_label}")
    return trained.with_metrics(metrics)
