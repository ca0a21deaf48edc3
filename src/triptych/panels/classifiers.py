"""Panels that fit a classifier of pixels in a single step, which is reported as one epoch."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.boards import BoardData
from triptych.images.pixels import scale_pixels
from triptych.networks.classifiers.contract import PixelClassifier
from triptych.networks.minibatches import Examples, Measured, mean_loss
from triptych.networks.numpy_functions import cross_entropies, log_losses
from triptych.networks.saved import PixelNetwork, find_class
from triptych.panels.fitting import Trained
from triptych.panels.kinds import KINDS
from triptych.training.checkpoints import Checkpoint, CheckpointFile
from triptych.training.epochs import EpochMetrics, OnEpoch
from triptych.training.examples import select_examples
from triptych.training.jobs import PanelJob
from triptych.transfer.records import EmbeddingRecord


class ClassifierTrainer:
    """Fits a `PixelClassifier`; a `triptych.panels.fitting.Trainer`. Nothing is random: all seeds give the same."""

    embedded = None

    def __init__(self, data: BoardData, job: PanelJob, embedded: EmbeddingRecord | None) -> None:  # noqa: ARG002 - Trainer's
        """Scale the pixels of the training and the validation set."""
        self._input_range: str = job.settings.input_range
        self._classifier: type[PixelClassifier] = find_class(KINDS[job.kind].network)
        self.select(data, job)

    def select(self, data: BoardData, job: PanelJob) -> None:  # noqa: ARG002 - Trainer's
        """Scale the pixels of the parts of another fold."""
        self._data = data
        self._parts = select_examples(data, lambda part: scale_pixels(data.pixels[part], input_range=self._input_range))

    def train(self, settings: Any, on_epoch: OnEpoch, checkpoint: CheckpointFile | None = None) -> Trained:
        """Fit the classifier or restore it from the checkpoint; report its losses and accuracies as one epoch."""
        found = checkpoint.load() if checkpoint else None
        if found:
            fitted, metrics = self._classifier.from_arrays(found.network, **found.names), found.curve[0]
        else:
            fitted, metrics = self._fit(settings)
            if checkpoint:
                checkpoint.save(Checkpoint((metrics,), {}, fitted.arrays(), {}, fitted.names))
        on_epoch(metrics)
        height, width, channels = self._data.pixels.shape[1:]
        iterations = {"iterations": str(fitted.iterations)} if fitted.iterations else {}
        return Trained(
            PixelNetwork(fitted, (height, width, channels), self._input_range),
            parameters=sum(array.size for array in fitted.arrays().values()),
            describe=lambda: {"trained_epochs": "1 of 1", "chosen_epoch": "1", **iterations},
        )

    def predict(self, network: PixelNetwork, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the probabilities of images of the board, (n, classes), from their stored pixels."""
        return network.predict_images(self._data.pixels[indices])

    def extract(self, network: PixelNetwork, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the features of images of the board, (n, dimension), from their stored pixels."""
        return network.extract(self._data.pixels[indices])

    def _fit(self, settings: Any) -> tuple[PixelClassifier, EpochMetrics]:
        train, validation = self._parts
        started = time.perf_counter()
        fitted = self._classifier.fit(
            np.asarray(train.features), train.labels, len(self._data.prepared.classes), settings, train.weights
        )
        seconds = time.perf_counter() - started
        on_validation = measure(fitted, validation) if validation is not None else ()
        return fitted, EpochMetrics(1, 1, *measure(fitted, train)[:2], seconds, *on_validation)


def measure(classifier: PixelClassifier, examples: Examples) -> Measured:
    """Return the cross-entropy, the accuracy and the log loss on examples."""
    probabilities, labels = classifier.predict_proba(np.asarray(examples.features)), examples.labels
    loss = mean_loss(cross_entropies(probabilities, labels), examples.weights)
    log_loss = mean_loss(log_losses(probabilities[np.arange(len(labels)), labels]), examples.weights)
    return Measured(loss, float((probabilities.argmax(axis=1) == labels).mean()), log_loss)
