"""What runs hold: metrics, figures, predictions, models, and the result of a comparison."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import RunTag
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from triptych.config.names import NUMPY_MLP, TORCH_MLP
from triptych.data.boards import BoardData
from triptych.evaluation.evaluator import Evaluation
from triptych.evaluation.figures import Curves, draw_confusions, draw_curves
from triptych.evaluation.metrics import count_confusions, measure_classes
from triptych.evaluation.predictions import Predictions, load_predictions, save_predictions
from triptych.evaluation.report import EvaluatedPanel
from triptych.networks.saved import copy_package
from triptych.panels.fitting import FittedPanel
from triptych.panels.kinds import find_kind
from triptych.panels.reference import ReferencePredictions, load_reference, save_reference
from triptych.tracking.client import connect
from triptych.tracking.links import link_to_view
from triptych.tracking.metrics import MetricLog, read_metrics
from triptych.tracking.provenance import pin_requirements
from triptych.tracking.queries import REPORT_FILE
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.resume import REPORTED, release
from triptych.training.jobs import PanelJob

EXPERIMENT_NOTE = "mlflow.note.content"
REFERENCE_FILE = "probe.npz"
PREDICTIONS_FILE = "test_predictions.json"
# The same, exact and small, for programs.
PREDICTIONS_ARRAYS = "test_predictions.npz"
# Longest side of the example image that is stored with a model, as JSON; any size is a valid input.
EXAMPLE_PIXELS = 32
# Tag of a run that has all its final metrics and predictions.
EVALUATED = "evaluated"
DRIFT_METRIC = "largest_weight_difference_of_twins"
IMAGES_IN = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, -1))
# Held while MLflow changes the import path.
_import_path = threading.Lock()


def log_fitted(run_id: str, job: PanelJob, fitted: FittedPanel, data: BoardData) -> str:
    """Log a trained panel: metrics, tags, curves, the reference and the model; return the model's URI.

    The run must be this thread's active one.
    """
    client = connect()
    MetricLog(run_id).log(fitted.metrics)
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in fitted.tags.items()])
    client.log_figure(run_id, draw_curves({job.run_label: [fitted.curves]}), "curves.png")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / REFERENCE_FILE
        save_reference(fitted.reference, file)
        client.log_artifact(run_id, str(file))
        package = copy_package(Path(folder) / "code")
        return _log_model(job, fitted, data, package)


def _log_model(job: PanelJob, fitted: FittedPanel, data: BoardData, package: Path) -> str:
    classes = job.prepared.classes
    outputs = TensorSpec(np.dtype(np.float32), (-1, len(classes)))
    example = data.images[int(fitted.reference.indices[0])]
    step = max(1, -(-max(example.shape[:2]) // EXAMPLE_PIXELS))
    model = mlflow.pyfunc.log_model(
        name=job.panel,
        loader_module="triptych.networks.saved",
        data_path=str(fitted.folder),
        code_paths=[str(package)],
        signature=ModelSignature(inputs=Schema([IMAGES_IN]), outputs=Schema([outputs])),
        input_example=np.ascontiguousarray(example[None, ::step, ::step]),
        pip_requirements=pin_requirements(find_kind(job.prepared.config, job.panel).requirements),
        metadata={"classes": list(classes), "board": job.prepared.config.name, "panel": job.panel, "label": job.label},
    )
    return str(model.model_uri)


def load_logged_model(model_uri: str) -> Any:
    """Return a logged model as `mlflow.pyfunc` loads it.

    MLflow puts the few modules that a model carries first on the import path. They are those of this package, which
    is at work already; processes that are started later inherit the path, and would find nothing but these few.
    """
    connect()
    with _import_path:
        before = sys.path
        try:
            return mlflow.pyfunc.load_model(model_uri)
        finally:
            sys.path = before


def load_logged_reference(run_id: str) -> ReferencePredictions:
    """Return the reference that `log_fitted` logged."""
    with tempfile.TemporaryDirectory() as folder:
        return load_reference(Path(connect().download_artifacts(run_id, REFERENCE_FILE, folder)))


def log_evaluation(run_id: str, job: PanelJob, evaluation: Evaluation) -> dict[str, float]:
    """Log the final metrics, the confusion matrix and the predictions; return what was measured of the panel."""
    client = connect()
    classes = job.prepared.classes
    MetricLog(run_id).log(evaluation.metrics)
    client.set_tag(run_id, "reload_difference", f"{evaluation.reload_difference:.3g}")
    counts = count_confusions(evaluation.predictions.labels, evaluation.predictions.probabilities)
    title = f"{job.run_label} on {job.prepared.config.name}"
    client.log_figure(run_id, draw_confusions(counts, classes, title), "confusion_matrix.png")
    client.log_dict(run_id, {"classes": list(classes), "counts": counts.tolist()}, "confusion_matrix.json")
    client.log_table(run_id, _tabulate_predictions(evaluation, classes), PREDICTIONS_FILE)
    measured = measure_classes(
        evaluation.predictions.labels, evaluation.predictions.probabilities.argmax(axis=1), len(classes)
    )
    client.log_dict(run_id, dict(zip(classes, measured, strict=True)), "classes.json")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / PREDICTIONS_ARRAYS
        save_predictions(evaluation.predictions, file)
        client.log_artifact(run_id, str(file))
    client.set_tag(run_id, EVALUATED, "true")
    return read_metrics(client.get_run(run_id))


def load_evaluation(run_id: str) -> dict[str, float] | None:
    """Return what was measured of a panel that was evaluated already; None where it was not."""
    client = connect()
    run = client.get_run(run_id)
    if EVALUATED not in run.data.tags:
        return None
    if run.info.status != "FINISHED":  # cut off in between
        client.set_terminated(run_id)
    return read_metrics(run)


def load_logged_predictions(run_id: str) -> Predictions:
    """Return the test predictions that `log_evaluation` logged."""
    with tempfile.TemporaryDirectory() as folder:
        return load_predictions(Path(connect().download_artifacts(run_id, PREDICTIONS_ARRAYS, folder)))


def _tabulate_predictions(evaluation: Evaluation, classes: Sequence[str]) -> pd.DataFrame:
    names = np.asarray(classes)
    table = pd.DataFrame(
        {
            "image": evaluation.predictions.indices,
            "class": names[evaluation.predictions.labels],
            "predicted": names[evaluation.predictions.probabilities.argmax(axis=1)],
        }
    )
    columns = [f"probability of {name}" for name in classes]
    rounded = evaluation.predictions.probabilities.astype(np.float64).round(6)
    return pd.concat([table, pd.DataFrame(rounded, columns=columns)], axis=1)


def log_drifts(panels: Sequence[EvaluatedPanel], drifts: Sequence[Sequence[float]]) -> None:
    """Log with both twins of each repeat how far apart their weights were after every epoch."""
    for panel in panels:
        if panel.panel in (NUMPY_MLP, TORCH_MLP) and drifts[panel.repeat]:
            MetricLog(panel.run_id).log_series(DRIFT_METRIC, drifts[panel.repeat])


def load_logged_curves(panels: Sequence[EvaluatedPanel]) -> dict[str, list[Curves]]:
    """Return for each label, for each of its repeats, the metrics of every epoch by name."""
    client = connect()
    curves: dict[str, list[Curves]] = {}
    for panel in panels:
        curves.setdefault(panel.label, []).append(_read_curves(client, panel.run_id))
    return curves


def finish_comparison(
    record: ComparisonRecord, result: Mapping[str, Any], text: str, curves: Mapping[str, Sequence[Curves]], page: str
) -> str:
    """Log the result of a comparison, close its run, and return the link to its charts.

    Args:
        record: the comparison.
        result: the verdict and the table, as JSON values.
        text: the same for people, in Markdown.
        curves: of every panel, as `load_logged_curves` returns them.
        page: the report, a whole HTML page.
    """
    client = connect()
    link = link_to_view(record.experiment_id, record.comparison)
    client.log_figure(record.run_id, draw_curves(curves), "curves.png")
    client.log_dict(record.run_id, dict(result), "comparison.json")
    client.log_text(record.run_id, text, "comparison.md")
    client.log_text(record.run_id, page, REPORT_FILE)
    note = f"{text}\n\n[All curves and final metrics of this comparison]({link})"
    client.set_tag(record.run_id, MLFLOW_RUN_NOTE, note)
    # In this order: whoever is cut off in between leaves a comparison that is taken up, not one that stays open.
    client.set_terminated(record.run_id, "FAILED" if result["missing"] else "FINISHED")
    client.set_tag(record.run_id, REPORTED, "true")
    release(record.comparison)
    about = f"Board `{record.prepared.config.name}`: {record.prepared.data_name}, every panel on the same split."
    client.set_experiment_tag(record.experiment_id, EXPERIMENT_NOTE, f"{about}\n\n[The latest comparison]({link})")
    return link


def _read_curves(client: mlflow.MlflowClient, run_id: str) -> dict[str, list[float]]:
    names = [f"{part}_{quantity}" for part in ("train", "val") for quantity in ("loss", "accuracy")]
    return {name: [point.value for point in client.get_metric_history(run_id, name)] for name in names}
