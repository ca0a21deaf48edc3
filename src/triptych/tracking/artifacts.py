"""The contents of runs: metrics, figures, predictions, models, and the result of a comparison."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import mlflow
import numpy as np
from mlflow.entities import Run
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_LOGGED_IMAGES, MLFLOW_RUN_NOTE

from triptych.config.names import NUMPY_MLP, TORCH_MLP, spell_safely
from triptych.data.boards import BoardData
from triptych.errors import DamagedFileError
from triptych.evaluation.charts.classes import chart_confusions
from triptych.evaluation.charts.colours import choose_colours
from triptych.evaluation.charts.panels import Curves, chart_training
from triptych.evaluation.charts.vega import draw_png
from triptych.evaluation.evaluator import Evaluation
from triptych.evaluation.folds.pooling import average_curves, pool_folds
from triptych.evaluation.metrics import count_confusions, list_confusions, measure_classes
from triptych.evaluation.predictions import (
    Predictions,
    Table,
    load_predictions,
    save_predictions,
    tabulate_mistakes,
    tabulate_predictions,
)
from triptych.evaluation.report import EvaluatedPanel
from triptych.networks.saved import copy_package, list_packages
from triptych.networks.trunks import name_trunk
from triptych.panels.fitting import FittedFold, FittedPanel
from triptych.panels.identity import identify_evaluation
from triptych.panels.kinds import find_kind
from triptych.panels.reference import ReferencePredictions, load_reference, save_reference
from triptych.system.text import escape_markdown
from triptych.tracking.client import connect
from triptych.tracking.leases import own_leases
from triptych.tracking.links import (
    link_inside,
    link_to_charts,
    link_to_comparisons,
    link_to_curves,
    link_to_view,
    save_view,
)
from triptych.tracking.metrics import MetricLog, read_metrics
from triptych.tracking.provenance import PREDICTIONS, pin_requirements, write_record
from triptych.tracking.queries import REPORT_FILE, list_charted
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.tags import (
    COMPARISON,
    EVALUATED,
    EVALUATION,
    FINDINGS,
    FOLDS,
    RELOAD_DIFFERENCE,
    REPORTED,
    TRUNK,
    list_shared,
    own_tags,
    read_tags,
    set_tags,
)
from triptych.training.jobs import PanelJob
from triptych.transfer.records import EmbeddingRecord

Loaded = TypeVar("Loaded")
EXPERIMENT_NOTE = "mlflow.note.content"
# What a board's page says of its runs.
ABOUT_RUNS = """\
Each run named `comparison` has the verdict, the accuracy of each panel, and `report.html` among its artifacts; the \
runs of its panels have their curves, predictions and models. Tags begin with `triptych.`: `triptych.role` says what a \
run is, `triptych.comparison` which comparison started it, `triptych.panel` and `triptych.repeat` what was trained, \
and `triptych.training` names everything that its result depends on."""
REFERENCE_FILE = "probe.npz"
# What MLflow's page shows: every test image, or, of large test sets, the mistakes.
PREDICTIONS_FILE, MISTAKES_FILE = "test_predictions.json", "test_mistakes.json"
# The predictions for programs, exact and small.
PREDICTIONS_ARRAYS = "test_predictions.npz"
VALIDATED_ARRAYS = "validation_predictions.npz"
# Longest side of the example image that a model has as JSON; images of any size are valid inputs.
EXAMPLE_PIXELS = 32
# The accuracy on the images of each fold of a cross-validation; the steps are the folds, from 1.
FOLD_ACCURACY = "fold_accuracy"
CURVES_FILE = "curves.png"
# The curves of a panel that its note links to.
LINKED_CURVES = {"accuracy by epoch": ("val_accuracy", "train_accuracy"), "loss by epoch": ("val_loss", "train_loss")}
DRIFT_METRIC = "largest_weight_difference_of_twins"
# MLflow sets this variable while it logs a model, and deletes it where there was none, maybe just when another thread
# reads the environment.
os.environ.setdefault("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "false")
# A signature would say uint8, and MLflow's server would then cut pixels in 0..1 off to 0: the model checks them itself.
IMAGES_IN = "(n, height, width, channels) whole numbers, 0..255, with 1 channel (gray) or 3 (RGB)"


def log_fitted(run_id: str, job: PanelJob, fitted: FittedPanel, data: BoardData) -> str:
    """Log a trained panel: metrics, tags, reference predictions and the model; return the model's URI.

    The run must be the active one of this thread. MLflow's page draws the curves from the metrics of the epochs.
    """
    client = connect()
    MetricLog(run_id).log(fitted.metrics)
    with tempfile.TemporaryDirectory() as folder:
        logged = Path(folder) / "logged"
        logged.mkdir()
        save_reference(fitted.reference, logged / REFERENCE_FILE)
        set_tags(client, run_id, {**fitted.tags, **write_record(logged, job, fitted)})
        client.log_artifacts(run_id, str(logged))
        package = copy_package(Path(folder) / "code")
        return _log_model(job, fitted, data, package)


def _log_model(job: PanelJob, fitted: FittedPanel, data: BoardData, package: Path) -> str:
    classes = job.prepared.classes
    outputs = Schema([ColSpec(DataType.float, name) for name in classes])
    example = data.images[int(fitted.reference.indices[0])]
    step = max(1, -(-max(example.shape[:2]) // EXAMPLE_PIXELS))
    model = mlflow.pyfunc.log_model(
        name=spell_safely(job.panel),
        loader_module="triptych.networks.saved",
        data_path=str(fitted.folder),
        code_paths=[str(package)],
        signature=ModelSignature(outputs=outputs),
        input_example=np.ascontiguousarray(example[None, ::step, ::step]),
        pip_requirements=pin_requirements(
            [*find_kind(job.prepared.config, job.panel).requirements, *list_packages(fitted.folder)]
        ),
        metadata={
            "classes": list(classes),
            "images": IMAGES_IN,
            "white_level": job.prepared.config.data.white_level,
            "board": job.prepared.config.name,
            "panel": job.panel,
            "label": job.label,
        },
        tags=own_tags({TRUNK: name_trunk(fitted.folder)}),
    )
    return str(model.model_uri)


class ImportPath:
    """The import path of this process, of which one thread at a time may make temporary changes."""

    def __init__(self) -> None:
        """Create the lock of the threads."""
        self._lock = threading.Lock()

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Restore the import path after the block, and let no other thread change it meanwhile."""
        with self._lock:
            before = sys.path
            try:
                yield
            finally:
                sys.path = before


import_path = ImportPath()


def load_logged_model(model_uri: str) -> Any:
    """Return a logged model, loaded by `mlflow.pyfunc`.

    MLflow prepends the folder of the modules that travel with the model to the import path. Processes that are
    started later would inherit it, and find these few modules instead of the whole package.
    """
    connect()
    with import_path.restored():
        return mlflow.pyfunc.load_model(model_uri)


def load_logged_reference(run_id: str) -> ReferencePredictions:
    """Return the reference predictions that `log_fitted` logged.

    Raises:
        DamagedFileError: they cannot be read.
    """
    return load_artifact(run_id, REFERENCE_FILE, load_reference)


def load_artifact(run_id: str, name: str, load: Callable[[Path], Loaded]) -> Loaded:
    """Return a file of a run as a function loads it.

    Raises:
        DamagedFileError: it cannot be read.
        MlflowException: there is no such file.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(connect().download_artifacts(run_id, name, folder))
        try:
            return load(file)
        except DamagedFileError as damaged:
            remedy = "run the same command again with --fresh"
            raise DamagedFileError(Path(f"runs:/{run_id}/{name}"), damaged.reason, remedy) from damaged


def log_evaluation(run_id: str, job: PanelJob, evaluation: Evaluation) -> dict[str, float]:
    """Log the final metrics, the confusion matrix and the predictions; return all metrics of the run."""
    client = connect()
    MetricLog(run_id).log(evaluation.metrics)
    with tempfile.TemporaryDirectory() as folder:
        table = _write_results(Path(folder), job, evaluation)
        client.log_artifacts(run_id, folder)
    # Last, because it says that all of the above is logged.
    shown = json.dumps([{"path": table, "type": "table"}])
    difference = evaluation.reload_difference
    done = {} if difference is None else {RELOAD_DIFFERENCE: f"{difference:.3g}"}
    done |= {PREDICTIONS: evaluation.predictions.compact().digest(), EVALUATED: "true"}
    done[EVALUATION] = identify_evaluation(job.prepared.config)
    run = client.get_run(run_id)
    set_tags(
        client, run_id, {MLFLOW_LOGGED_ARTIFACTS: shown, MLFLOW_RUN_NOTE: _describe_panel(run, evaluation), **done}
    )
    return read_metrics(run)


def _describe_panel(run: Run, evaluation: Evaluation) -> str:
    """Return the note of a panel's run: its results, and the charts that are worth a look."""
    experiment_id, run_id = run.info.experiment_id, run.info.run_id
    links = {name: link_to_curves(experiment_id, run_id, metrics) for name, metrics in LINKED_CURVES.items()}
    links["charts of all panels"] = link_to_charts(experiment_id, read_tags(run)[COMPARISON])
    images, metrics = len(evaluation.predictions.labels), evaluation.metrics
    results = (
        f"Accuracy {metrics['test_accuracy']:.4f} and log loss {metrics['test_log_loss']:.4f} on {images} test images"
    )
    return f"{results}: " + ", ".join(f"[{name}]({link_inside(link)})" for name, link in links.items())


def _write_results(folder: Path, job: PanelJob, evaluation: Evaluation) -> str:
    """Write the files of an evaluation to a folder; return the name of the table that MLflow's page shows."""
    predictions, names = evaluation.predictions, job.prepared.classes
    counts = count_confusions(predictions.labels, predictions.predicted, len(names))
    title = f"{job.run_label} on {job.prepared.config.name}"
    (folder / "confusion_matrix.png").write_bytes(draw_png(chart_confusions(counts, names, title)))
    measured = measure_classes(predictions.labels, predictions.predicted, len(names))
    table = tabulate_predictions(predictions)
    name = PREDICTIONS_FILE if table else MISTAKES_FILE
    content = {
        "confusion_matrix.json": {"classes": names, **list_confusions(counts)},
        "classes.json": dict(zip(names, measured, strict=True)),
        name: _as_table(table or tabulate_mistakes(predictions)),
    }
    for file, values in content.items():
        (folder / file).write_text(json.dumps(values), encoding="utf-8")
    save_predictions(predictions, folder / PREDICTIONS_ARRAYS)
    if evaluation.validated is not None:
        save_predictions(evaluation.validated, folder / VALIDATED_ARRAYS)
    return name


def log_folds(run_id: str, job: PanelJob, folds: Sequence[FittedFold], embedded: EmbeddingRecord | None) -> None:
    """Log a cross-validation: the curves, means over the folds, and the metrics and predictions of all images."""
    for name, values in average_curves(folds).items():
        MetricLog(run_id).log_series(name, values)
    costs = {} if embedded is None else {"embed_seconds": embedded.seconds}
    evaluation = pool_folds(folds)
    set_tags(connect(), run_id, {"threads": str(job.settings.threads), FOLDS: str(len(folds))})
    log_evaluation(run_id, job, replace(evaluation, metrics=evaluation.metrics | costs))


def _as_table(table: Table) -> dict[str, list[Any]]:
    """Return a table as MLflow's page shows it; `mlflow.log_table` would append it to one that is there already."""
    return {"columns": [*table], "data": [list(row) for row in zip(*table.values(), strict=True)]}


def load_evaluation(run_id: str) -> dict[str, float] | None:
    """Return the metrics of a panel that was evaluated already; None if it was not."""
    run = connect().get_run(run_id)
    return read_metrics(run) if EVALUATED in read_tags(run) else None


def load_logged_predictions(run_id: str, file: str = PREDICTIONS_ARRAYS) -> Predictions:
    """Return the predictions that `log_evaluation` logged.

    Args:
        run_id: of the panel.
        file: those of the test set, or of the validation set.

    Raises:
        DamagedFileError: they cannot be read.
        MlflowException: there are none.
    """
    return load_artifact(run_id, file, load_predictions)


def log_drifts(panels: Sequence[EvaluatedPanel], drifts: Sequence[Sequence[float]]) -> None:
    """Log for both twins of each repeat how far their weights were apart after each epoch, unless it was logged."""
    for panel in panels:
        if panel.panel in (NUMPY_MLP, TORCH_MLP) and drifts[panel.repeat] and DRIFT_METRIC not in panel.metrics:
            MetricLog(panel.run_id).log_series(DRIFT_METRIC, drifts[panel.repeat])


def load_logged_curves(panels: Sequence[EvaluatedPanel]) -> dict[str, list[Curves]]:
    """Return the curves of all panels: the metrics of every epoch by name, for each repeat of each label."""
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
        text: the same in Markdown.
        curves: the curves of all panels, as `load_logged_curves` returns them.
        page: the report, a complete HTML page.
    """
    client = connect()
    link = link_to_view(record.experiment_id, record.comparison)
    run = client.get_run(record.run_id)
    runs = list_charted(record.experiment_id, run)
    pictured = MLFLOW_LOGGED_IMAGES in run.data.tags
    if runs or pictured:
        shown = [*runs, record.run_id] if runs else ()
        save_view(client, record.experiment_id, record.comparison, shown, pictured=pictured)
    chosen = choose_colours(record.prepared.config.panels)
    colours = {job.label: chosen[job.panel] for job in record.jobs}
    # A comparison that shares all its panels has the same chart as an earlier one.
    if len(list_shared(run)) < len(record.jobs) and (training := chart_training(curves, colours)):
        _log_png(client, record.run_id, draw_png(training), CURVES_FILE)
    client.log_dict(record.run_id, dict(result), "comparison.json")
    client.log_text(record.run_id, text, "comparison.md")
    client.log_text(record.run_id, page, REPORT_FILE)
    # The note is read when the view is long gone.
    charts = link_inside(link_to_charts(record.experiment_id, record.comparison, runs=runs))
    note = f"{text}\n\n[All curves and final metrics of this comparison]({charts})"
    client.set_tag(record.run_id, MLFLOW_RUN_NOTE, note)
    # In this order, so that an interruption in between leaves a comparison that is continued, not one that stays open.
    client.set_terminated(record.run_id, "FAILED" if result["missing"] else "FINISHED")
    codes = dict.fromkeys(line.split()[0] for line in result["findings"])
    set_tags(client, record.run_id, {FINDINGS: " ".join(codes), REPORTED: "true"})
    own_leases.release(record.run_id)
    data = escape_markdown(record.prepared.data_name)
    about = f"Board `{record.prepared.config.name}`: {data}, every panel on the same split."
    links = {"The latest comparison": link, "all comparisons": link_to_comparisons(record.experiment_id)}
    listed = ", ".join(f"[{text}]({link_inside(address)})" for text, address in links.items())
    client.set_experiment_tag(record.experiment_id, EXPERIMENT_NOTE, f"{about}\n\n{listed}\n\n{ABOUT_RUNS}")
    return link


def _log_png(client: mlflow.MlflowClient, run_id: str, picture: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(picture)
        client.log_artifact(run_id, str(file))


def _read_curves(client: mlflow.MlflowClient, run_id: str) -> dict[str, list[float]]:
    names = [*(f"{part}_{quantity}" for part in ("train", "val") for quantity in ("loss", "accuracy")), "val_log_loss"]
    return {name: [point.value for point in client.get_metric_history(run_id, name)] for name in names}
