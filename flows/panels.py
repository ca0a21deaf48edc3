"""Train and evaluate the panels of a comparison: in this process, on a cluster, or on other work pools."""

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
from triptych.tracking.records import ComparisonRecord
from triptych.transfer.records import BoardEmbeddings


@tracked_flow("train {order.panel} for {order.board.name}", max_workers=count_cores())
def panel(order: PanelOrder) -> None:
    """Train and evaluate all repeats of one panel for a comparison that another machine started.

    That machine reads the results from MLflow.

    Args:
        order: the panel and its comparison.

    Raises:
        IncompleteError: a repeat is missing.
    """
    enforce_restart_limit()
    panels, missing, _ = train_panels(open_ordered(order))
    require_panels(panels, missing)


def train_panels(
    comparison: ComparisonRecord,
) -> tuple[list[EvaluatedPanel], list[MissingPanel], BoardEmbeddings]:
    """Start the panels of other work pools, embed the images once, and train and evaluate the other panels here."""
    remote = {name: send_panel.submit(comparison, name) for name in comparison.panels_elsewhere}
    embedded = submit_embedding(comparison)
    trainings = [
        (job, train_panel.submit(comparison, job, embedded.needed_by(job.panel)))
        for job in comparison.jobs
        if job.panel not in remote
    ]
    # Submitted after all trainings, because an evaluation occupies a thread while it waits for its training.
    here = [
        SubmittedPanel(job, [*embedded.steps_of(job.panel), training, evaluate.submit(training)])
        for job, training in trainings
    ]
    # Submitted last, because these tasks only wait, and each occupies a thread.
    there = [
        SubmittedPanel(job, [remote[job.panel], collect_panel.submit(comparison, job, remote[job.panel])])
        for job in comparison.jobs
        if job.panel in remote
    ]
    return *collect_panels([*here, *there]), embedded.collect()
