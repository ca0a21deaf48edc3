"""Train a panel again from its record alone, in a cache of its own, where no earlier result can be found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from triptych.config.names import list_parts
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.evaluation.predictions import Predictions
from triptych.networks.saved import load_model
from triptych.panels.fitting import fit_panel
from triptych.panels.identity import list_ingredients
from triptych.panels.kinds import find_kind
from triptych.system.paths import download_home
from triptych.system.progress import tracking
from triptych.tracking.provenance import TrainingRecord
from triptych.tracking.registry.weights import pin_weights
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import PanelJob
from triptych.transfer.records import (
    COMBINED,
    BoardEmbeddings,
    EmbeddingPlan,
    EmbeddingRecord,
    PlannedNetwork,
    collect_embeddings,
    count_shards,
)

# The ingredients that say which images are predicted: if they differ, there is nothing to compare.
DATA = ("data", "pixels", "split")


@contextmanager
def empty_cache() -> Iterator[None]:
    """Use an empty cache while the block runs; only data sets that were downloaded are shared with the other one."""
    before = os.environ.get("TRIPTYCH_CACHE_HOME")
    downloads = download_home()
    with TemporaryDirectory(prefix="triptych-verify-") as folder:
        if downloads.is_dir():
            Path(folder, "data").symlink_to(downloads.resolve())
        os.environ["TRIPTYCH_CACHE_HOME"] = folder
        try:
            yield
        finally:
            del os.environ["TRIPTYCH_CACHE_HOME"]
            if before is not None:
                os.environ["TRIPTYCH_CACHE_HOME"] = before


def prepare_again(record: TrainingRecord) -> PanelJob:
    """Prepare the board of a record from the data as they are now; return the training to repeat.

    Raises:
        DataError: the data are missing or cannot be read.
        ConfigError: the registered weights are gone.
    """
    with tracking(f"read {record.config.name}", passing=True) as move:
        prepared = prepare_board(pin_weights(record.config), move)
    return PanelJob(prepared, record.panel, record.repeat)


def find_ingredients(record: TrainingRecord, job: PanelJob) -> dict[str, Any]:
    """Return what a training would depend on here and now, without embedding and training.

    Weights are read and hashed. The embeddings themselves and the processor are taken to be as recorded.
    """
    taken_over = {name: record.ingredients[name] for name in ("embeddings", "number_format", "processor")}
    found = list_ingredients(job) | taken_over
    if record.ingredients["backbone"]:
        from triptych.transfer.weights import fetch_combined

        digests = [backbone.digest() for backbone in fetch_combined(job.panel, job.prepared.config)]
        found["backbone"] = COMBINED.join(digests)
    return found


def train_again(record: TrainingRecord, job: PanelJob) -> tuple[Predictions, dict[str, Any]]:
    """Embed and train again; return the predictions of the test images, and what they depend on.

    Args:
        record: of the training.
        job: the training, as `prepare_again` returns it.
    """
    data = load_board(job.prepared)
    embedded = _embed_again(data, record) if record.ingredients["number_format"] else None
    with TemporaryDirectory() as folder, tracking(f"train {job.run_label}") as move:

        def on_epoch(metrics: EpochMetrics) -> None:
            move(metrics.epoch, metrics.epochs)

        fitted = fit_panel(data, job, Path(folder) / "model", on_epoch, embedded)
        network = load_model(fitted.folder).get_raw_model()
        test = data.split.test
        predict = find_kind(job.prepared.config, job.panel).find_predictor()
        probabilities = predict(network, data, embedded, test)
    predictions = Predictions(test, data.labels[test], probabilities, data.image_ids[test], data.prepared.classes)
    return predictions.compact(), fitted.ingredients


def _embed_again(data: BoardData, record: TrainingRecord) -> EmbeddingRecord:
    """Embed every image in the number format of the record: measuring again might choose another one."""
    from triptych.transfer.plan import embed_board

    formats = record.ingredients["number_format"].split(COMBINED)
    plan = EmbeddingPlan(
        {
            part: PlannedNetwork(number_format, "as recorded", 0.0)
            for part, number_format in zip(list_parts(record.panel), formats, strict=True)
        }
    )
    shards = range(count_shards(len(data.images)))
    with tracking(f"embed {record.panel}") as move:
        part: BoardEmbeddings = embed_board(data, plan, shards, on_images=move)
    return replace(collect_embeddings(plan, [part]).record_of(record.panel), reason="as recorded")
