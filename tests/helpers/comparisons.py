"""A comparison in MLflow without Prefect: one small panel, trained, evaluated and recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow.utils.file_utils import local_file_uri_to_path

from triptych.config.resolve import resolve_config
from triptych.data.boards import load_board, prepare_board
from triptych.evaluation.evaluator import Evaluation, evaluate_logged_model
from triptych.evaluation.page.render import Context, render_page
from triptych.evaluation.report import EvaluatedPanel, write_report
from triptych.panels.fitting import FittedPanel, fit_panel
from triptych.panels.identity import identify_comparison
from triptych.tracking.artifacts import (
    finish_comparison,
    load_logged_curves,
    load_logged_model,
    load_logged_predictions,
    load_logged_reference,
    log_evaluation,
    log_fitted,
)
from triptych.tracking.client import connect
from triptych.tracking.metrics import MetricLog
from triptych.tracking.records import ComparisonRecord, TrainedPanel
from triptych.tracking.runs import note_trained, panel_run, resume_run, start_comparison

PANEL = "numpy-mlp"


@dataclass(frozen=True)
class Recorded:
    """A recorded comparison of one panel on the digits.

    Attributes:
        comparison: the comparison.
        fitted: its panel, as it was trained.
        evaluation: of the panel, as it was logged.
        panel: the panel with its run and its metrics.
        link: to its charts.
    """

    comparison: ComparisonRecord
    fitted: FittedPanel
    evaluation: Evaluation
    panel: EvaluatedPanel
    link: str


def record_comparison(folder: Path) -> Recorded:
    """Train and record a panel in the store of `MLFLOW_TRACKING_URI`; its files go to `folder`."""
    config = resolve_config("digits", panels=[PANEL], settings=["numpy_mlp.epochs=2", "numpy_mlp.batch_size=8"])
    prepared = prepare_board(config.boards[0])
    data = load_board(prepared)
    comparison = start_comparison(prepared, {}, identify_comparison(prepared))
    [job] = comparison.jobs
    with panel_run(comparison, job, {}) as run_id:
        fitted = fit_panel(data, job, folder / "model", MetricLog(run_id).log_epoch)
        trained = note_trained(TrainedPanel(job, run_id, log_fitted(run_id, job, fitted, data), 0))
    with resume_run(run_id):
        model, reference = load_logged_model(trained.model_uri), load_logged_reference(run_id)
        evaluation = evaluate_logged_model(model, PANEL, data, reference, None)
        panel = trained.with_metrics(log_evaluation(run_id, job, evaluation))
    predictions = {run_id: load_logged_predictions(run_id)}
    report = write_report(prepared, [panel], predictions, [], [])
    curves = load_logged_curves([panel])
    page = render_page(data, report, [panel], predictions, curves, Context({"comparison": comparison.comparison}))
    link = finish_comparison(comparison, report.as_json(), report.as_markdown(), curves, page)
    return Recorded(comparison, fitted, evaluation, panel, link)


@contextmanager
def artifacts_missing(recorded: Recorded, *names: str) -> Iterator[None]:
    """Rename some files of a run, whose folder all tests share."""
    folder = Path(local_file_uri_to_path(connect().get_run(recorded.panel.run_id).info.artifact_uri))
    for name in names:
        (folder / name).rename(folder / f"hidden-{name}")
    yield
    for name in names:
        (folder / f"hidden-{name}").rename(folder / name)
