"""Thirty nights of a folder that grows: photos are added, renamed and deleted, and a class comes up.

Every night a quick panel is trained, evaluated and recorded in MLflow, as the pipeline does it, and challenges the
champion.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure import Figure
from PIL import Image

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.evaluation.evaluator import evaluate_logged_model
from triptych.evaluation.promotion import choose_best
from triptych.evaluation.report import EvaluatedPanel
from triptych.panels.fitting import fit_panel
from triptych.panels.identity import identify_comparison
from triptych.tracking.artifacts import load_logged_model, load_logged_reference, log_evaluation, log_fitted
from triptych.tracking.metrics import MetricLog
from triptych.tracking.records import ComparisonRecord, TrainedPanel
from triptych.tracking.registry.champions import Verdict, challenge
from triptych.tracking.registry.scoring import load_seen
from triptych.tracking.registry.versions import find_champion
from triptych.tracking.runs import note_trained, panel_run, resume_run, start_comparison
from triptych.training.jobs import PanelJob

PANELS = ("nearest-neighbours",)
CLASSES, NEW_CLASS, NEW_CLASS_NIGHT = ("ants", "bees", "wasps"), "hornets", 14
FIRST_PHOTOS, NEW_PHOTOS, DELETED, RENAMED = 60, 4, 1, 2
SECTION, NIGHTS, QUICK_NIGHTS, MANY_DRAWS = "trust", 30, 6, 1000
FIGURES = re.compile(r"[+-]\d+\.\d\d points|\d\.\d{4} against \d\.\d{4}")


@dataclass(frozen=True)
class Growth:
    """What happened while a folder grew.

    Attributes:
        nights: their number.
        decided: nights whose decision has figures.
        moved: photos that were in another part the night before.
        learnt: photos of a night's test set that its champion was trained or chosen on.
        champions: number of versions that were champion.
    """

    nights: int
    decided: int
    moved: int
    learnt: int
    champions: int


class Folder:
    """A folder of small photos, one folder per class, that changes every night."""

    def __init__(self, root: Path, seed: int, first: int = FIRST_PHOTOS) -> None:
        """Write the first photos, so many of each class."""
        self.root = root
        self._rng = np.random.default_rng(seed)
        self._written = 0
        for name in CLASSES:
            self._add(name, first)

    def change(self, night: int) -> None:
        """Add, rename and delete photos; once, a class comes up."""
        if night == NEW_CLASS_NIGHT:
            self._add(NEW_CLASS, FIRST_PHOTOS)
        for name in sorted(folder.name for folder in self.root.iterdir()):
            files = sorted((self.root / name).iterdir())
            chosen = self._rng.choice(len(files), DELETED + RENAMED, replace=False).tolist()
            for index in chosen[:DELETED]:
                files[index].unlink()
            for index in chosen[DELETED:]:
                files[index].rename(files[index].with_name(f"again-{night}-{files[index].name}"))
            self._add(name, NEW_PHOTOS)

    def _add(self, name: str, count: int) -> None:
        """Write photos of a class: a pattern of its own under noise."""
        (self.root / name).mkdir(exist_ok=True)
        pattern = np.random.default_rng([*name.encode()]).integers(0, 256, size=(8, 8, 3))
        for _ in range(count):
            noise = self._rng.normal(0.0, 250.0, size=(8, 8, 3))
            pixels = np.clip(pattern + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((32, 32), Image.Resampling.NEAREST).save(
                self.root / name / f"{self._written:05}.png"
            )
            self._written += 1


def live_through(folder: Path, nights: int, seed: int = 0) -> Growth:
    """Return what happens in some nights, recorded in the store of `MLFLOW_TRACKING_URI`.

    Args:
        folder: an empty folder for the photos.
        nights: their number.
        seed: of the photos and of what happens to them.
    """
    photos = Folder(folder, seed)
    known: dict[bytes, str] = {}
    decided = moved = learnt = 0
    champions: set[str] = set()
    for night in range(nights):
        if night:
            photos.change(night)
        verdict, data = compare_tonight(folder)
        parts = dict(zip(data.image_ids.tolist(), data.split.parts().tolist(), strict=True))
        moved += sum(known.get(image, part) != part for image, part in parts.items())
        known |= parts
        decided += bool(FIGURES.search(verdict.reason))
        champion = find_champion(data.prepared.config.name)
        if champion is not None:
            champions.add(str(champion.version))
            seen = load_seen(champion, data)
            test = {image for image, part in parts.items() if part == "test"}
            learnt += len(test & {*seen.train.tolist(), *seen.validation.tolist()}) if seen else len(test)
    return Growth(nights, decided, moved, learnt, len(champions))


def compare_tonight(folder: Path) -> tuple[Verdict, BoardData]:
    """Train, evaluate and record the panels on a folder as it is now; return what became of the best, and the data."""
    settings = ["name=growth", "repeats=1", "data.thumbnail_pixels=8"]
    [config] = resolve_config("photos", data=str(folder), panels=PANELS, settings=settings).boards
    prepared = prepare_board(config)
    data = load_board(prepared)
    comparison = start_comparison(prepared, {}, identify_comparison(prepared))
    panels = list(record_panels(comparison, comparison.jobs, data))
    best = choose_best(panels)
    if best is None:
        raise RuntimeError("there is a validation set, so that one panel is the best")
    return challenge(prepared, best, panels), data


def record_panels(comparison: ComparisonRecord, jobs: Sequence[PanelJob], data: BoardData) -> Iterator[EvaluatedPanel]:
    """Train, log and evaluate some panels, one after the other."""
    for job in jobs:
        with panel_run(comparison, job, {}) as run_id, tempfile.TemporaryDirectory() as folder:
            fitted = fit_panel(data, job, Path(folder) / "model", MetricLog(run_id).log_epoch)
            trained = note_trained(TrainedPanel(job, run_id, log_fitted(run_id, job, fitted, data), 0))
        with resume_run(run_id):
            model, reference = load_logged_model(trained.model_uri), load_logged_reference(run_id)
            evaluation = evaluate_logged_model(model, job.panel, data, reference, None)
            yield trained.with_metrics(log_evaluation(run_id, job, evaluation))


def simulate_growth(draws: int, seed: int = 0) -> list[Figure]:
    """Live through thirty nights, or a few where little is drawn."""
    nights = NIGHTS if draws >= MANY_DRAWS else QUICK_NIGHTS
    with tempfile.TemporaryDirectory() as scratch:
        homes = {"MLFLOW_TRACKING_URI": f"sqlite:///{scratch}/mlflow.db", "TRIPTYCH_CACHE_HOME": f"{scratch}/cache"}
        os.environ.update(homes, MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        photos = Path(scratch, "photos")
        photos.mkdir()
        lived = live_through(photos, nights, seed)
    rows = (
        ("decided with figures", float(lived.decided), float(nights), False),
        ("photos that changed their part", float(lived.moved), 0.0, True),
        ("photos of a test set that its champion learnt from", float(lived.learnt), 0.0, True),
    )
    name = f"{nights} nights of additions, renames, deletions and a new class"
    return [Figure(SECTION, f"{name}: {what}", v, v, v, target, most, seed) for what, v, target, most in rows]
