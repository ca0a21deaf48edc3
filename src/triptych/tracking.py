"""MLflow, and nothing but MLflow: the only module that imports it.

One experiment per board. A comparison is one run for each panel and repeat and one run named `comparison`,
tied together by the tag `comparison`; panel runs are not nested, as MLflow's page would hide their charts.
Runs are named by id everywhere: MLflow's own stack of active runs belongs to a thread.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from triptych.boards import Board, BoardRecord
from triptych.embedding_record import EmbeddingRecord
from triptych.evaluation import Evaluation, Probe, load_probe, save_probe
from triptych.figures import draw_confusions, draw_curves
from triptych.metrics import count_confusions
from triptych.panels import FittedPanel, PanelJob
from triptych.paths import local_store, project_root
from triptych.served import REQUIREMENTS, copy_modules
from triptych.threads import count_cores
from triptych.training import EpochMetrics

LOCAL_PAGE = "http://127.0.0.1:5000"
EXPERIMENT_NOTE = "mlflow.note.content"
PROBE_FILE = "probe.npz"
PREDICTIONS_FILE = "test_predictions.json"
REPORTED_LIBRARIES = ("numpy", "scikit-learn", "torch", "torchvision", "mlflow", "prefect")
DATASET_DIGEST_LENGTH = 36
# MLflow takes at most 100 parameters in one call.
PARAMETERS_PER_CALL = 100
# Longest side of the example image that is stored with a model, as JSON; any size is a valid input.
EXAMPLE_PIXELS = 32

IMAGES_IN = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, -1))


@dataclass(frozen=True)
class ComparisonRecord:
    """What tasks hand each other about a comparison.

    Attributes:
        comparison: its id.
        experiment_id: MLflow's id of the board's experiment.
        run_id: of the run named `comparison`.
        board: the board.
    """

    comparison: str
    experiment_id: str
    run_id: str
    board: BoardRecord


@dataclass(frozen=True)
class TrainedPanel:
    """What tasks hand each other about a trained panel.

    Attributes:
        job: the panel and its repeat.
        run_id: MLflow's run id.
        model_uri: where MLflow keeps the model.
        embedded: the record of its embeddings, where it stands on a frozen network.
    """

    job: PanelJob
    run_id: str
    model_uri: str
    embedded: EmbeddingRecord | None = None


@dataclass(frozen=True)
class PanelRun:
    """A run of one panel, as `triptych show` prints it.

    Attributes:
        board: the board's name.
        comparison: the comparison's id.
        panel: the panel's name.
        label: the panel's name for people.
        repeat: which training of the panel.
        run_id: MLflow's run id.
        status: MLflow's status of the run.
        metrics: the last value of every metric.
    """

    board: str
    comparison: str
    panel: str
    label: str
    repeat: int
    run_id: str
    status: str
    metrics: dict[str, float]


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, or the sqlite file of the local store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri()


def local_uri() -> str:
    """Return the sqlite file of the local store."""
    return f"sqlite:///{local_store() / 'mlflow.db'}"


def connect() -> mlflow.MlflowClient:
    """Return a client of the tracking store; the local one is created when first used."""
    if tracking_uri() == local_uri():
        local_store().mkdir(parents=True, exist_ok=True)
    if mlflow.get_tracking_uri() != tracking_uri():
        mlflow.set_tracking_uri(tracking_uri())
    return mlflow.MlflowClient()


def start_comparison(board: BoardRecord, tags: Mapping[str, str]) -> ComparisonRecord:
    """Open the run named `comparison` in the board's experiment, and log what is compared on what.

    Args:
        board: the prepared board.
        tags: who runs it, for instance the flow run.
    """
    client = connect()
    experiment_id = _find_or_create_experiment(client, board.config.name)
    comparison = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    common = {**tags, "comparison": comparison, "role": "comparison", **describe_board(board)}
    run_id = _create_run(client, experiment_id, "comparison", common, board)
    if board.notes:
        client.set_tag(run_id, MLFLOW_RUN_NOTE, "\n\n".join(board.notes))
    client.log_artifact(run_id, str(board.split_file), "split")
    return ComparisonRecord(comparison, experiment_id, run_id, board)


@contextmanager
def panel_run(record: ComparisonRecord, job: PanelJob, tags: Mapping[str, str]) -> Iterator[str]:
    """Open the run of a panel and yield its id; the run ends as FINISHED, or as FAILED if the block raises."""
    client = connect()
    own = {"role": "panel", "panel": job.panel, "label": job.label, "repeat": str(job.repeat)}
    common = {**tags, **own, "comparison": record.comparison, **describe_board(job.board)}
    run_id = _create_run(client, record.experiment_id, job.run_label, common, job.board)
    with resume_run(run_id):
        yield run_id


@contextmanager
def resume_run(run_id: str) -> Iterator[None]:
    """Make a run the active one of this thread while the block runs; it fails with the block."""
    connect()
    with mlflow.start_run(run_id=run_id):
        yield


def log_epoch(run_id: str, metrics: EpochMetrics) -> None:
    """Log the metrics of one epoch, the epoch as step, in one call."""
    now = int(time.time() * 1000)
    points = [Metric(name, value, now, metrics.epoch) for name, value in metrics.values().items()]
    connect().log_batch(run_id, metrics=points)


def log_metrics(run_id: str, metrics: Mapping[str, float]) -> None:
    """Log final metrics."""
    now = int(time.time() * 1000)
    connect().log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in metrics.items()])


def log_fitted(run_id: str, job: PanelJob, fitted: FittedPanel, board: Board) -> str:
    """Log a trained panel: metrics, tags, curves, the probe and the model; return the model's URI.

    The run must be this thread's active one.
    """
    client = connect()
    log_metrics(run_id, fitted.metrics)
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in fitted.tags.items()])
    client.log_figure(run_id, draw_curves({job.run_label: fitted.curves}), "curves.png")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / PROBE_FILE
        save_probe(fitted.probe, file)
        client.log_artifact(run_id, str(file))
        package = copy_modules(job.kind, Path(folder) / "code")
        return _log_model(job, fitted, board, package)


def _log_model(job: PanelJob, fitted: FittedPanel, board: Board, package: Path) -> str:
    classes = job.board.classes
    outputs = TensorSpec(np.dtype(np.float32), (-1, len(classes)))
    example = board.images[int(fitted.probe.indices[0])]
    step = max(1, -(-max(example.shape[:2]) // EXAMPLE_PIXELS))
    model = mlflow.pyfunc.log_model(
        name=job.panel,
        loader_module="triptych.served",
        data_path=str(fitted.folder),
        code_paths=[str(package)],
        signature=ModelSignature(inputs=Schema([IMAGES_IN]), outputs=Schema([outputs])),
        input_example=np.ascontiguousarray(example[None, ::step, ::step]),
        pip_requirements=pin_requirements(REQUIREMENTS[job.kind]),
        metadata={"classes": list(classes), "board": job.board.config.name, "panel": job.panel, "label": job.label},
    )
    return str(model.model_uri)


def load_logged_model(model_uri: str) -> Any:
    """Return a logged model as `mlflow.pyfunc` loads it."""
    connect()
    return mlflow.pyfunc.load_model(model_uri)


def load_logged_probe(run_id: str) -> Probe:
    """Return the probe that `log_fitted` logged."""
    with tempfile.TemporaryDirectory() as folder:
        return load_probe(Path(connect().download_artifacts(run_id, PROBE_FILE, folder)))


def log_evaluation(run_id: str, job: PanelJob, evaluation: Evaluation) -> dict[str, float]:
    """Log the final metrics, the confusion matrix and the predictions; return the last value of every metric."""
    client = connect()
    classes = job.board.classes
    log_metrics(run_id, evaluation.metrics)
    client.set_tag(run_id, "reload_difference", f"{evaluation.reload_difference:.3g}")
    counts = count_confusions(evaluation.labels, evaluation.probabilities)
    title = f"{job.run_label} on {job.board.config.name}"
    client.log_figure(run_id, draw_confusions(counts, classes, title), "confusion_matrix.png")
    client.log_dict(run_id, {"classes": list(classes), "counts": counts.tolist()}, "confusion_matrix.json")
    client.log_table(run_id, _tabulate_predictions(evaluation, classes), PREDICTIONS_FILE)
    return dict(client.get_run(run_id).data.metrics)


def _tabulate_predictions(evaluation: Evaluation, classes: Sequence[str]) -> pd.DataFrame:
    names = np.asarray(classes)
    table = pd.DataFrame(
        {
            "image": evaluation.indices,
            "class": names[evaluation.labels],
            "predicted": names[evaluation.probabilities.argmax(axis=1)],
        }
    )
    columns = [f"probability of {name}" for name in classes]
    rounded = evaluation.probabilities.astype(np.float64).round(6)
    return pd.concat([table, pd.DataFrame(rounded, columns=columns)], axis=1)


def finish_comparison(record: ComparisonRecord, result: Mapping[str, Any], text: str) -> str:
    """Log the result of a comparison, close its run, and return the link to its charts.

    Args:
        record: the comparison.
        result: the verdict and the table, as JSON values.
        text: the same for people, in Markdown.
    """
    client = connect()
    link = link_to_charts(record.experiment_id, record.comparison)
    runs = find_panel_runs(record.experiment_id, record.comparison)
    curves = {run.info.run_name: _read_curves(client, run.info.run_id) for run in runs}
    client.log_figure(record.run_id, draw_curves(curves), "curves.png")
    client.log_dict(record.run_id, dict(result), "comparison.json")
    client.log_text(record.run_id, text, "comparison.md")
    note = f"{text}\n\n[All curves and final metrics of this comparison]({link})"
    client.set_tag(record.run_id, MLFLOW_RUN_NOTE, note)
    client.set_terminated(record.run_id)
    about = f"Board `{record.board.config.name}`: {record.board.data_name}, every panel on the same split."
    client.set_experiment_tag(record.experiment_id, EXPERIMENT_NOTE, f"{about}\n\n[The latest comparison]({link})")
    return link


def _read_curves(client: mlflow.MlflowClient, run_id: str) -> dict[str, list[float]]:
    names = [f"{part}_{quantity}" for part in ("train", "val") for quantity in ("loss", "accuracy")]
    return {name: [point.value for point in client.get_metric_history(run_id, name)] for name in names}


def close_runs(flow_run_id: str, status: str) -> int:
    """Close what a flow run that ended early left in state RUNNING; return how many runs that were."""
    client = connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    left = client.search_runs(experiments, f"tags.`prefect.flow_run_id` = '{flow_run_id}' and status = 'RUNNING'")
    for run in left:
        client.set_terminated(run.info.run_id, status)
    return len(left)


def find_panel_runs(experiment_id: str, comparison: str) -> list[Any]:
    """Return the panel runs of a comparison, in the order in which they were started."""
    query = f"tags.comparison = '{comparison}' and tags.role = 'panel'"
    return list(connect().search_runs([experiment_id], query, order_by=["attributes.start_time ASC"]))


def list_artifacts(run_id: str, folder: str | None = None) -> list[str]:
    """Return the paths of all files of a run, folder by folder."""
    names: list[str] = []
    for entry in connect().list_artifacts(run_id, folder):
        names += list_artifacts(run_id, entry.path) if entry.is_dir else [entry.path]
    return names


def find_last_comparisons() -> list[tuple[str, str, list[PanelRun]]]:
    """Return for each board the id of its last comparison, the link to its charts and its panel runs."""
    client = connect()
    found = []
    for experiment in sorted(client.search_experiments(), key=lambda experiment: experiment.name):
        last = client.search_runs(
            [experiment.experiment_id], "tags.role = 'comparison'", max_results=1, order_by=["start_time DESC"]
        )
        for run in last:
            comparison = run.data.tags["comparison"]
            panels = [_describe_run(panel_run) for panel_run in find_panel_runs(experiment.experiment_id, comparison)]
            found.append((comparison, link_to_charts(experiment.experiment_id, comparison), panels))
    return found


def _describe_run(run: Any) -> PanelRun:
    tags = run.data.tags
    return PanelRun(
        board=tags["board"],
        comparison=tags["comparison"],
        panel=tags["panel"],
        label=tags["label"],
        repeat=int(tags["repeat"]),
        run_id=run.info.run_id,
        status=run.info.status,
        metrics=dict(run.data.metrics),
    )


def link_to_charts(experiment_id: str, comparison: str) -> str:
    """Return the address of MLflow's page with the curves and final metrics of just this comparison."""
    query = quote(f"tags.comparison = '{comparison}' and tags.role = 'panel'", safe="")
    return (
        f"{page_address()}/#/experiments/{experiment_id}/runs"
        f"?workflowType=machine_learning&searchFilter={query}&compareRunsMode=CHART"
    )


def page_address() -> str:
    """Return where MLflow's pages are: the tracking server, or where `make ui` serves the local store."""
    uri = tracking_uri()
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else LOCAL_PAGE


def describe_board(board: BoardRecord) -> dict[str, str]:
    """Return the tags that say what every run of a board was measured on, and with what."""
    tags = {
        "board": board.config.name,
        "data": board.data_name,
        "data_sha256": board.data_digest,
        "split_id": board.split_id,
        **{f"images.{part}": str(size) for part, size in board.sizes.items()},
        "cores": str(count_cores()),
        "platform": f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        **{f"version.{library}": _find_version(library) for library in REPORTED_LIBRARIES},
    }
    commit = find_commit()
    return tags | ({"git_commit": commit} if commit else {})


def find_commit() -> str | None:
    """Return the commit of the checkout, marked where files differ from it; None outside of a checkout."""
    command = ["git", "-C", str(project_root()), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - git
    except (OSError, subprocess.CalledProcessError):
        return None


def pin_requirements(names: Sequence[str]) -> list[str]:
    """Return the exact versions at hand, MLflow's own among them.

    PyTorch's module reports a local version that no package registry knows; the distribution's is used.
    """
    return [f"{name}=={version(name)}" for name in ("mlflow", *names)]


def _find_version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _find_or_create_experiment(client: mlflow.MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if found is not None:
        return str(found.experiment_id)
    try:
        return client.create_experiment(name, artifact_location=_choose_artifact_location(name))
    except MlflowException:
        again = client.get_experiment_by_name(name)
        if again is None:
            raise
        return str(again.experiment_id)


def _choose_artifact_location(name: str) -> str | None:
    """Return a folder beside an sqlite store; a server knows its own place.

    Left to itself, MLflow would freeze a place that depends on the working directory.
    """
    scheme, _, file = tracking_uri().partition(":///")
    return (Path(file).resolve().parent / "artifacts" / name).as_uri() if scheme == "sqlite" else None


def _create_run(
    client: mlflow.MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str], board: BoardRecord
) -> str:
    run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
    run_id = str(run.info.run_id)
    fields = [Param(key, str(value)) for key, value in board.config.flat().items()]
    for start in range(0, len(fields), PARAMETERS_PER_CALL):
        client.log_batch(run_id, params=fields[start : start + PARAMETERS_PER_CALL])
    client.log_inputs(run_id, [describe_dataset(board)])
    return run_id


def describe_dataset(board: BoardRecord) -> DatasetInput:
    """Return the data set as MLflow's pages show it, with as much of its hash as fits."""
    source = json.dumps({"uri": board.config.data.source})
    digest = board.data_digest[:DATASET_DIGEST_LENGTH]
    profile = json.dumps({**board.sizes, "classes": len(board.classes), "split_id": board.split_id})
    dataset = Dataset(board.data_name, digest, source_type="local", source=source, profile=profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "train, validation and test")])
