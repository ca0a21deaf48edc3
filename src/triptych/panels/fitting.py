"""One panel on one board: from the stored data to a trained model in a folder. Knows no tracker."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from triptych.config.trainers import TrainingConfig
from triptych.data.boards import BoardData
from triptych.networks.saved import Network, save_model
from triptych.panels.identity import TRAINING, identify_training, open_checkpoint
from triptych.panels.kinds import find_kind, name_kind
from triptych.panels.reference import ReferencePredictions, choose_reference_images
from triptych.system.threads import limit_blas_threads
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import EpochMetrics, OnEpoch
from triptych.training.jobs import PanelJob
from triptych.training.loop import choose_epoch
from triptych.transfer.records import EmbeddingRecord

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Trained:
    """What a trainer returns.

    Attributes:
        network: raw images in, probabilities out.
        parameters: numbers that it consists of.
        describe: returns what a reader should know of the training, as tags; a trial has no need of it.
    """

    network: Network
    parameters: int
    describe: Callable[[], dict[str, str]]


class Trainer(Protocol):
    """Trains one kind of panel, as often as it is asked to, on data that it reads once.

    Attributes:
        embedded: the record of the embeddings that it stands on, on this machine; None where it needs none.
    """

    embedded: EmbeddingRecord | None

    def __init__(self, data: BoardData, job: PanelJob, embedded: EmbeddingRecord | None) -> None:
        """Read what training needs; the test part is left alone.

        Args:
            data: the board.
            job: the panel, and the repeat, which is the seed.
            embedded: the record of its embeddings, where its backbone was embedded.
        """

    def train(self, settings: Any, on_epoch: OnEpoch, checkpoint: CheckpointFile | None = None) -> Trained:
        """Train from new weights, or from a checkpoint.

        Args:
            settings: the panel's section of the configuration; trials vary it.
            on_epoch: called with the metrics of each epoch.
            checkpoint: where to store and look for the state; None stores nothing.

        Raises:
            ConfigError: a setting does not suit the data or the machine.
            DivergenceError: a step or the training loss is no finite number.
            FrozenError: what was frozen has changed.
        """

    def predict(self, network: Any, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the probabilities of images of the board, (n, classes), as the trainer computes them."""


@dataclass(frozen=True)
class FittedPanel:
    """A trained panel on disk.

    Attributes:
        folder: what `triptych.networks.saved` wrote.
        reference: some images and the probabilities that the trainer computed for them.
        metrics: the final metrics that training knows, by MLflow's name.
        curves: the metrics of every epoch by name.
        restored_epochs: how many epochs came from an earlier training that was the same so far.
        tags: what else a reader should know.
    """

    folder: Path
    reference: ReferencePredictions
    metrics: dict[str, float]
    curves: dict[str, list[float]]
    restored_epochs: int = 0
    tags: dict[str, str] = field(default_factory=dict)


class CurveRecorder:
    """Keeps the metrics of every epoch and passes them on."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        """Pass metrics on to `on_epoch`."""
        self.curve: list[EpochMetrics] = []
        self._on_epoch = on_epoch

    def __call__(self, metrics: EpochMetrics) -> None:
        """Keep the metrics of one epoch and pass them on."""
        self.curve.append(metrics)
        self._on_epoch(metrics)

    @property
    def curves(self) -> dict[str, list[float]]:
        """The metrics of every epoch by name."""
        return {name: [metrics.values()[name] for metrics in self.curve] for name in self.curve[0].values()}

    @property
    def fit_seconds(self) -> float:
        """Seconds of all epochs' updates."""
        return sum(metrics.epoch_seconds for metrics in self.curve)


def fit_panel(
    data: BoardData, job: PanelJob, folder: Path, on_epoch: OnEpoch, embedded: EmbeddingRecord | None = None
) -> FittedPanel:
    """Train a panel, or continue its training from a checkpoint, and write it to a folder.

    Args:
        data: the board.
        job: the panel and its repeat.
        folder: is created.
        on_epoch: called with the metrics of each epoch.
        embedded: the record of the embeddings of its backbone, where it has one.

    Raises:
        ConfigError: a setting does not suit the data or the machine.
        DivergenceError: a step or the training loss is no finite number.
        FrozenError: what was frozen has changed.
        ProcessError: one of several processes ended early.
    """
    config = data.prepared.config
    trainer: Trainer = find_kind(config, job.panel).find_trainer()(data, job, embedded)
    recorder = CurveRecorder(on_epoch)
    checkpoint = open_checkpoint(job, trainer.embedded)
    restored = checkpoint.count_epochs() if checkpoint else 0
    with limit_blas_threads(job.settings.threads):
        trained = trainer.train(job.settings, recorder, checkpoint)
        indices = choose_reference_images(data, config.evaluate.reference_images)
        reference = ReferencePredictions(indices, trainer.predict(trained.network, indices))
    save_model(name_kind(config, job.panel), trained.network, data.prepared.classes, folder)
    metrics = measure_fit(recorder, folder, trained.parameters)
    if trainer.embedded:
        metrics["embed_seconds"] = trainer.embedded.seconds
    tags = {
        "threads": str(job.settings.threads),
        TRAINING: identify_training(job, trainer.embedded),
        **trained.describe(),
    }
    return FittedPanel(folder, reference, metrics, recorder.curves, restored, tags)


def describe_epochs(curve: Sequence[EpochMetrics], settings: TrainingConfig) -> dict[str, str]:
    """Return as tags how long a training lasted, and which epoch's weights it ended with."""
    return {
        "trained_epochs": f"{len(curve)} of {settings.epochs}",
        "chosen_epoch": str(choose_epoch(curve, settings)),
    }


def measure_fit(recorder: CurveRecorder, folder: Path, parameters: int) -> dict[str, float]:
    """Return the final metrics that training knows, once the model is written to `folder`."""
    size = sum(file.stat().st_size for file in folder.iterdir())
    return {
        "fit_seconds": recorder.fit_seconds,
        "parameters": float(parameters),
        "model_mebibytes": size / MEBIBYTE,
        # Linux counts KiB; panels side by side share the process, so it is an upper bound for each.
        "process_peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEBIBYTE,
    }
