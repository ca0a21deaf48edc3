"""Train one panel of a board and save it to a folder. Nothing here depends on MLflow."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from triptych.config.trainers import TrainingConfig
from triptych.data.boards import BoardData
from triptych.images.sources import require_unchanged
from triptych.networks.familiar.distances import TRAIN_IMAGES, VALIDATION_IMAGES, Familiarity, spread
from triptych.networks.saved import Network, save_model
from triptych.panels.identity import TRAINING, identify_training, list_ingredients, open_checkpoint
from triptych.panels.kinds import find_kind, name_kind
from triptych.panels.reference import ReferencePredictions, choose_reference_images
from triptych.panels.twins import keeps_weights
from triptych.system.files import writing_to
from triptych.system.own_memory import measuring_memory
from triptych.system.threads import describe_processor, limit_blas_threads
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import EpochMetrics, OnEpoch
from triptych.training.jobs import PanelJob
from triptych.training.loop import choose_epoch
from triptych.transfer.records import EmbeddingRecord

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Trained:
    """The result of `Trainer.train`.

    Attributes:
        network: the trained network, from raw images to probabilities.
        parameters: number of its parameters.
        describe: returns the tags that describe the training; not called in a trial.
    """

    network: Network
    parameters: int
    describe: Callable[[], dict[str, str]]


class Trainer(Protocol):
    """Trains one kind of panel; it reads the data once and can be trained repeatedly.

    Attributes:
        embedded: the record of the embeddings that it uses, on this machine; None if it uses none.
    """

    embedded: EmbeddingRecord | None

    def __init__(self, data: BoardData, job: PanelJob, embedded: EmbeddingRecord | None) -> None:
        """Read the training and the validation set of the data, but not the test set.

        Args:
            data: the board.
            job: the panel, and its repeat, which is the seed.
            embedded: the record of the embeddings of its backbone; None if there are none.
        """

    def select(self, data: BoardData, job: PanelJob) -> None:
        """Read the training and the validation set of another fold of the same board."""

    def train(self, settings: Any, on_epoch: OnEpoch, checkpoint: CheckpointFile | None = None) -> Trained:
        """Train from initial weights, or continue from a checkpoint.

        Args:
            settings: the panel's section of the configuration; it varies from trial to trial.
            on_epoch: called with the metrics of each epoch.
            checkpoint: file to restore the state from and save it to; None saves nothing.

        Raises:
            ConfigError: a setting does not suit the data or the machine.
            DivergenceError: a step or the training loss is not finite.
            FrozenError: a frozen parameter has changed.
        """

    def predict(self, network: Any, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the probabilities of images (n,) int64 of the board: (n, classes), as training computes them."""

    def extract(self, network: Any, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the features of images (n,) int64 of the board: (n, dimension), from which they are classified."""


@dataclass(frozen=True)
class FittedPanel:
    """A trained panel on disk.

    Attributes:
        folder: the model, written by `triptych.networks.saved`.
        reference: images and the probabilities that the trainer computed for them.
        metrics: the final metrics that do not need the test set, by their name in MLflow.
        curves: the metrics of every epoch, by name.
        restored_epochs: number of epochs that were restored from a checkpoint.
        tags: further facts about the training.
        ingredients: everything that its result depends on, by name, as JSON values.
    """

    folder: Path
    reference: ReferencePredictions
    metrics: dict[str, float]
    curves: dict[str, list[float]]
    restored_epochs: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    ingredients: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FittedFold:
    """A panel that was trained for one fold of a cross-validation; it is not saved.

    Attributes:
        data: the board with the split of the fold.
        tested: (n_test, classes), the probabilities of its test images.
        validated: (n_validation, classes), the same of its validation images; None if there is none.
        curve: the metrics of every epoch.
        parameters: number of the network's parameters.
        restored_epochs: number of epochs that were restored from a checkpoint.
    """

    data: BoardData
    tested: NDArray[np.floating[Any]]
    validated: NDArray[np.floating[Any]] | None
    curve: list[EpochMetrics]
    parameters: int
    restored_epochs: int


class CurveRecorder:
    """Records the metrics of every epoch, and passes them on.

    Attributes:
        curve: the metrics of every epoch so far.
    """

    def __init__(self, on_epoch: OnEpoch) -> None:
        """Start without metrics; `on_epoch` is called with those of each epoch."""
        self.curve: list[EpochMetrics] = []
        self._on_epoch = on_epoch

    def __call__(self, metrics: EpochMetrics) -> None:
        """Record the metrics of one epoch and pass them on."""
        self.curve.append(metrics)
        self._on_epoch(metrics)

    @property
    def curves(self) -> dict[str, list[float]]:
        """The values of each metric, one per epoch, by its name."""
        return {name: [metrics.values()[name] for metrics in self.curve] for name in self.curve[0].values()}

    @property
    def fit_seconds(self) -> float:
        """Total seconds of the updates of all epochs, without measuring and reporting."""
        return sum(metrics.epoch_seconds for metrics in self.curve)


def fit_panel(
    data: BoardData, job: PanelJob, folder: Path, on_epoch: OnEpoch, embedded: EmbeddingRecord | None = None
) -> FittedPanel:
    """Train a panel, or continue its training from a checkpoint, and save it to a folder.

    Args:
        data: the board.
        job: the panel and its repeat.
        folder: the folder to save to; it must not exist.
        on_epoch: called with the metrics of each epoch.
        embedded: the record of the embeddings of its backbone; None if it has none.

    Raises:
        ConfigError: a setting does not suit the data or the machine.
        DataError: an image was changed during the training.
        DivergenceError: a step or the training loss is not finite.
        FrozenError: a frozen parameter has changed.
        ProcessError: one of several training processes ended early.
        StorageError: the checkpoint or the model cannot be written.
    """
    config = data.prepared.config
    kind = find_kind(config, job.panel)
    prepare = kind.find_trainer()
    pkgutil.resolve_name(kind.network)  # libraries are no memory of this panel: others share them
    recorder = CurveRecorder(on_epoch)
    with measuring_memory() as growth, limit_blas_threads(job.settings.threads):
        trainer: Trainer = prepare(data, job, embedded)
        checkpoint = open_checkpoint(job, trainer.embedded, with_weights=keeps_weights(config, job.panel))
        restored = checkpoint.count_epochs() if checkpoint else 0
        trained = trainer.train(job.settings, recorder, checkpoint)
        indices = choose_reference_images(data, config.evaluate.reference_images)
        reference = ReferencePredictions(indices, trainer.predict(trained.network, indices))
    familiarity = _learn_familiar(data, trainer, trained.network, frozen=kind.input == "embeddings")
    if kind.input != "thumbnails":
        require_unchanged(data.images)
    with writing_to(folder):
        save_model(name_kind(config, job.panel), trained.network, data.prepared.classes, folder, familiarity)
    metrics = measure_fit(recorder, folder, trained.parameters)
    if growth.mebibytes is not None and not restored:
        metrics["fit_memory_mebibytes"] = growth.mebibytes
    if trainer.embedded:
        metrics["embed_seconds"] = trainer.embedded.seconds
    tags = {
        "threads": str(job.settings.threads),
        TRAINING: identify_training(job, trainer.embedded),
        **trained.describe(),
    }
    ingredients = list_ingredients(job, trainer.embedded) | {"processor": _describe_processor(kind.requirements)}
    return FittedPanel(folder, reference, metrics, recorder.curves, restored, tags, ingredients)


def _learn_familiar(data: BoardData, trainer: Trainer, network: Network, *, frozen: bool) -> Familiarity | None:
    """Return what recognises foreign images; None without a validation set, which sets the limit."""
    train, validation = data.split.train, data.split.validation
    if not len(validation):
        return None
    seen, kept = train[spread(len(train), TRAIN_IMAGES)], validation[spread(len(validation), VALIDATION_IMAGES)]
    known, limiting = (trainer.extract(network, part) for part in (seen, kept))
    groups = (data.groups[seen] if data.groups is not None else seen) if frozen else None
    return Familiarity.fit(known, limiting, network.feature_shape, data.labels[seen], groups)


def _describe_processor(requirements: Sequence[str]) -> dict[str, str]:
    """Return what else the last bits depend on: this machine, and the instructions that PyTorch uses on it."""
    instructions = (
        {"pytorch": sys.modules["torch"].backends.cpu.get_cpu_capability()} if "torch" in requirements else {}
    )
    return describe_processor() | instructions


def fit_folds(
    data: BoardData, job: PanelJob, on_epoch: OnEpoch, embedded: EmbeddingRecord | None = None
) -> Iterator[FittedFold]:
    """Train a panel for each fold of a repetition, or continue from checkpoints; nothing else is saved.

    Args:
        data: the board.
        job: the panel and its repeat, which is also the repetition of the folds.
        on_epoch: called with the metrics of each epoch of each fold.
        embedded: the record of the embeddings of its backbone; None if it has none.

    Raises:
        Exception: the same as of `fit_panel`.
    """
    kind = find_kind(data.prepared.config, job.panel)
    trainer: Trainer | None = None
    for part in data.draw_folds(job.repeat):
        own = replace(job, prepared=part.prepared)
        if trainer is None:
            trainer = kind.find_trainer()(part, own, embedded)
        else:
            trainer.select(part, own)
        recorder = CurveRecorder(on_epoch)
        checkpoint = open_checkpoint(own, trainer.embedded)
        restored = checkpoint.count_epochs() if checkpoint else 0
        with limit_blas_threads(job.settings.threads):
            trained = trainer.train(job.settings, recorder, checkpoint)
            tested = trainer.predict(trained.network, part.split.test)
            chosen = part.split.validation
            validated = trainer.predict(trained.network, chosen) if len(chosen) else None
        if kind.input != "thumbnails":
            require_unchanged(data.images)
        yield FittedFold(part, tested, validated, recorder.curve, trained.parameters, restored)


def describe_epochs(curve: Sequence[EpochMetrics], settings: TrainingConfig) -> dict[str, str]:
    """Return as tags the number of epochs trained, and the epoch whose weights were kept."""
    return {
        "trained_epochs": f"{len(curve)} of {settings.epochs}",
        "chosen_epoch": str(choose_epoch(curve, settings)),
    }


def measure_fit(recorder: CurveRecorder, folder: Path, parameters: int) -> dict[str, float]:
    """Return the final metrics that do not need the test set, once the model is saved to `folder`."""
    size = sum(file.stat().st_size for file in folder.iterdir())
    return {
        "fit_seconds": recorder.fit_seconds,
        "parameters": float(parameters),
        "model_mebibytes": size / MEBIBYTE,
    }
