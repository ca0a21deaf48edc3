"""Load a logged model, verify it, and evaluate it on the test set."""

from __future__ import annotations

from triptych.data.boards import open_board
from triptych.evaluation.evaluator import evaluate_logged_model
from triptych.evaluation.report import EvaluatedPanel
from triptych.orchestration import step
from triptych.system.progress import tracking
from triptych.tracking.artifacts import load_evaluation, load_logged_model, load_logged_reference, log_evaluation
from triptych.tracking.records import TrainedPanel
from triptych.tracking.runs import close_run, resume_run


@step("evaluate {trained.job.run_label}")
def evaluate(trained: TrainedPanel) -> EvaluatedPanel:
    """Log the test metrics of a panel, after its logged model has reproduced its trainer's probabilities."""
    metrics = load_evaluation(trained.run_id)
    if metrics is None:
        metrics = _evaluate(trained)
    else:  # evaluated before an interruption
        close_run(trained.run_id)
    return trained.with_metrics(metrics)


def _evaluate(trained: TrainedPanel) -> dict[str, float]:
    with tracking(f"evaluate {trained.job.run_label}", passing=True), resume_run(trained.run_id):
        evaluation = evaluate_logged_model(
            load_logged_model(trained.model_uri),
            trained.job.panel,
            open_board(trained.job.prepared),
            load_logged_reference(trained.run_id),
            trained.embedded,
        )
        return log_evaluation(trained.run_id, trained.job, evaluation)
