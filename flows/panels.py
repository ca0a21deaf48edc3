"""Train and evaluate the panels of a comparison: in this process, on a cluster, or on machines of other work pools."""

from __future__ import annotations

from flows.embedding import submit_embedding
from tasks.evaluate import evaluate
from tasks.order_panel import collect_panel, send_panel
from tasks.split_data import open_ordered
from tasks.train_panel import train_panel
from triptych.evaluation.report import EvaluatedPanel, MissingPanel
from triptych.orchestration import (
    SubmittedPanel,
    collect_panels,
    enforce_restart_limit,
    require_panels,
    tracked_flow,
)
from triptych.orchestration.remote import PanelOrder
from triptych.system.threads import count_cores
from triptych.tracking import ComparisonRecord


@tracked_flow("panel {order.panel}", max_workers=count_cores())
def panel(order: PanelOrder) -> None:
    """Train and evaluate all repeats of one panel, for the comparison of another machine, which reads MLflow.

    Args:
        order: which panel of which comparison.
    """
    enforce_restart_limit()
    require_panels(*train_panels(open_ordered(order)))


def train_panels(comparison: ComparisonRecord) -> tuple[list[EvaluatedPanel], list[MissingPanel]]:
    """Send away what other machines train, embed each frozen network once, train every repeat of the others."""
    sent = {name: send_panel.submit(comparison, name) for name in comparison.panels_elsewhere}
    embedded = submit_embedding(comparison)
    trainings = [
        (job, train_panel.submit(comparison, job, embedded.needed_by(job.panel)))
        for job in comparison.jobs
        if job.panel not in sent
    ]
    # Behind all trainings: an evaluation waits for its own in a thread that the next training could have.
    here = [
        SubmittedPanel(job, [*embedded.steps_of(job.panel), training, evaluate.submit(training)])
        for job, training in trainings
    ]
    # Last: these only wait, and each takes a thread.
    away = [
        SubmittedPanel(job, [sent[job.panel], collect_panel.submit(comparison, job, sent[job.panel])])
        for job in comparison.jobs
        if job.panel in sent
    ]
    return collect_panels([*here, *away])
