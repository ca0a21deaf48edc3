"""Evaluation, artifacts and page of large boards: a thousand classes, and ten panels with ten repeats each.

The images are noisy patterns, one for each class, and the networks are logistic regressions that know the patterns more
or less well, so that nothing is trained. Run as `python large_boards.py BOARD`, it prints what a board costs as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from measure import Figure, publish
from memory import read_peak
from numpy.typing import NDArray

from triptych.config.names import BACKBONE_NAMES
from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, PreparedBoard
from triptych.data.datasets import build_array_dataset
from triptych.data.duplicates import identify_pixels
from triptych.data.splits import Split, identify_test_set, save_split
from triptych.evaluation.evaluator import evaluate_logged_model
from triptych.evaluation.page.render import Context, render_page
from triptych.evaluation.report import EvaluatedPanel, write_report
from triptych.networks.classifiers.logistic_regression import LogisticRegression
from triptych.networks.saved import PixelNetwork, save_model
from triptych.panels.fitting import FittedPanel
from triptych.panels.kinds import name_kind
from triptych.panels.reference import ReferencePredictions, choose_reference_images
from triptych.system.environment import apply_environment
from triptych.tracking.artifacts import (
    finish_comparison,
    load_logged_curves,
    load_logged_model,
    load_logged_predictions,
    load_logged_reference,
    log_evaluation,
    log_fitted,
)
from triptych.tracking.metrics import MetricLog
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.runs import panel_run, resume_run, start_comparison
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import PanelJob

SECTION = "large boards"
SHAPE, EPOCHS = (10, 10, 1), 20
# How much of its pattern an image shows, and how much noise.
PATTERN, NOISE = 0.35, 0.5
# Numbers of an embedding.
FEATURES = 512
MEBIBYTE = 2**20
# Every eighth of the pretrained networks; fine-tuned ones are predicted from raw images, as those of this file are.
PANELS = BACKBONE_NAMES[::8]
SETTINGS = ("transfer.unfreeze_blocks=1", "transfer.cache_embeddings=false", "transfer.weights=random")

Patterns = NDArray[np.float64]


@dataclass(frozen=True)
class Board:
    """The size of a board.

    Attributes:
        images: of the test set; the validation set has as many, the training set one of each class.
        classes: number of classes.
        panels: number of panels, at most 10.
        repeats: of each panel.
    """

    images: int
    classes: int
    panels: int
    repeats: int


BOARDS = {"classes": Board(10_000, 1000, 3, 2), "panels": Board(540, 10, 10, 10)}
QUICK = {"classes": Board(2000, 500, 3, 1), "panels": Board(540, 10, 10, 1)}


@dataclass
class Costs:
    """What a board costs.

    Attributes:
        seconds: of CPU, by step.
        bytes: of the artifacts without the models, by the name of the file, summed over the runs.
        peak: memory of the process in MiB.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    peak: float = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the CPU time of a block to that of a step."""
        started = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started


def draw_board(board: Board, folder: Path) -> tuple[BoardData, Patterns]:
    """Return a board of noisy patterns, whose split is in a folder, and the patterns, (classes, pixels) in -1..1."""
    rng = np.random.default_rng(0)
    patterns = rng.uniform(-1.0, 1.0, (board.classes, int(np.prod(SHAPE))))
    labels = np.concatenate([np.arange(board.classes), rng.integers(0, board.classes, 2 * board.images)])
    values = PATTERN * patterns[labels] + NOISE * rng.normal(size=(len(labels), patterns.shape[1]))
    pixels = np.clip(127.5 + 127.5 * values, 0, 255).astype(np.uint8).reshape(-1, *SHAPE)
    classes = tuple(f"class-{number:04}" for number in range(board.classes))
    dataset = build_array_dataset("noisy patterns", pixels, labels, classes)
    split = Split("0" * 16, *np.split(np.arange(len(labels)), [board.classes, board.classes + board.images]))
    save_split(split, folder / "split.json")
    ids = np.array([identify_pixels(image).hex()[:32] for image in pixels], dtype="S32")
    settings = [f"repeats={board.repeats}", *SETTINGS]
    prepared = PreparedBoard(
        config=resolve_config("digits", panels=PANELS[: board.panels], settings=settings).boards[0],
        data_name=dataset.name,
        data_digest=dataset.digest,
        classes=classes,
        dataset_folder=folder,
        root=None,
        split_file=folder / "split.json",
        split_id=split.split_id,
        test_set_id=identify_test_set(ids[split.test], labels[split.test], classes),
        sizes=split.sizes(),
        notes=(),
        grows=False,
    )
    return BoardData(prepared, dataset.images, pixels, dataset.labels, ids, split), patterns


def save_network(data: BoardData, patterns: Patterns, job: PanelJob, folder: Path) -> FittedPanel:
    """Save a network that knows the patterns the worse, the later its panel comes."""
    place = PANELS.index(job.panel)
    rng = np.random.default_rng([place, job.repeat])
    known = patterns + (0.2 + 0.05 * place) * rng.normal(size=patterns.shape)
    classifier: Any = LogisticRegression(known.astype(np.float32) / 2.0, np.zeros(len(known), np.float32))
    network = PixelNetwork(classifier, SHAPE)
    save_model(name_kind(data.prepared.config, job.panel), network, data.prepared.classes, folder)
    indices = choose_reference_images(data, data.prepared.config.evaluate.reference_images)
    reference = ReferencePredictions(indices, network.predict_images(data.pixels[indices]))
    metrics = {"fit_seconds": 1.0 + place, "parameters": 1e6, "model_mebibytes": 4.0, "fit_memory_mebibytes": 500.0}
    return FittedPanel(folder, reference, metrics, {})


def record_panel(
    comparison: ComparisonRecord, job: PanelJob, data: BoardData, fitted: FittedPanel, costs: Costs
) -> EvaluatedPanel:
    """Log and evaluate a panel, as the tasks of the pipeline do."""
    with costs.step("log"), panel_run(comparison, job, {}) as run_id:
        log = MetricLog(run_id)
        for epoch in range(1, EPOCHS + 1):
            log.log_epoch(
                EpochMetrics(epoch, EPOCHS, 2.0 / epoch, 1.0 - 0.5 / epoch, 0.1, 2.2 / epoch, 0.5, 2.2 / epoch)
            )
        uri = log_fitted(run_id, job, fitted, data)
    with costs.step("evaluate"), resume_run(run_id):
        evaluation = evaluate_logged_model(load_logged_model(uri), job.panel, data, load_logged_reference(run_id), None)
        metrics = log_evaluation(run_id, job, evaluation)
    return EvaluatedPanel(job.panel, job.label, job.repeat, run_id, metrics, 0, uri)


def compare(board: Board, folder: Path) -> Costs:
    """Record a comparison in the store of `MLFLOW_TRACKING_URI`, an SQLite file in a folder; return what it costs."""
    costs = Costs()
    data, patterns = draw_board(board, folder)
    comparison = start_comparison(data.prepared, {}, "0" * 16)
    panels = []
    for number, job in enumerate(comparison.jobs):
        fitted = save_network(data, patterns, job, folder / f"model-{number}")
        panels.append(record_panel(comparison, job, data, fitted, costs))
    with costs.step("report"):
        predictions = {panel.run_id: load_logged_predictions(panel.run_id) for panel in panels}
        report = write_report(data.prepared, panels, predictions)
        curves = load_logged_curves(panels)
        features = np.random.default_rng(0).random((len(data.labels), FEATURES), dtype=np.float32)
        page = render_page(data, report, panels, predictions, curves, Context({}, features=features))
        finish_comparison(comparison, report.as_json(), report.as_markdown(), curves, page)
    for file in (folder / "artifacts").rglob("*"):
        if file.is_file() and "models" not in file.parts:
            costs.bytes[file.name] = costs.bytes.get(file.name, 0) + file.stat().st_size
    costs.peak = read_peak() / 1024
    return costs


def measure_board(name: str, *, quick: bool) -> Costs:
    """Return what a board costs, measured in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        homes = {"TRIPTYCH_CACHE_HOME": f"{folder}/cache", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        environment = {**os.environ, **homes, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, name, folder, *(["--quick"] if quick else [])]
        return Costs(**json.loads(subprocess.check_output(command, env=environment, text=True)))  # noqa: S603 - this very file


def build_figure(figure: str, value: float, target: float) -> Figure:
    """Return a value that was measured once, with its upper bound."""
    return Figure(SECTION, figure, value, value, value, target, at_most=True)


def main() -> None:
    """Measure and publish; with a board and a folder, record it there and print what it costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("board", nargs="?", choices=BOARDS, help="print what this one costs")
    parser.add_argument("folder", nargs="?", type=Path, help="of its files")
    parser.add_argument("--quick", action="store_true", help="smaller boards")
    given = parser.parse_args()
    boards = QUICK if given.quick else BOARDS
    apply_environment(quiet=True)
    if given.board:
        print(json.dumps(asdict(compare(boards[given.board], given.folder))))
        return
    classes, panels = (measure_board(name, quick=given.quick) for name in boards)
    many, runs = boards["classes"], boards["panels"].panels * boards["panels"].repeats
    size = f"{many.images:,} images x {many.classes:,} classes, {many.panels} panels, {many.repeats} repeats"
    publish(
        SECTION,
        [
            build_figure(
                f"CPU seconds of evaluation and page, {size}",
                sum(classes.seconds.values()) - classes.seconds["log"],
                20.0,
            ),
            build_figure("the same: peak memory of the process (MiB)", classes.peak, 1024.0),
            build_figure("the same: artifacts without the models (MiB)", sum(classes.bytes.values()) / MEBIBYTE, 40.0),
            build_figure("the same: page (MiB)", classes.bytes["report.html"] / MEBIBYTE, 10.0),
            build_figure(
                f"CPU seconds a run of logging and evaluation, {runs} runs of 10 panels",
                sum(panels.seconds.values()) / runs,
                1.0,
            ),
        ],
        "CPU time of one process",
    )


if __name__ == "__main__":
    main()
