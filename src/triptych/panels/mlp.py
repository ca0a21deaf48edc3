"""Panels that train one of the two multilayer perceptrons on the pixels of a board."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.config.trainers import MLPConfig
from triptych.data.boards import BoardData
from triptych.images.pixels import scale_pixels
from triptych.networks.saved import PixelNetwork
from triptych.panels.fitting import CurveRecorder, Trained, describe_epochs
from triptych.panels.identity import weights_file
from triptych.panels.kinds import KINDS
from triptych.panels.twins import are_compared
from triptych.training.checkpoints import CheckpointFile, save_weights
from triptych.training.epochs import EpochMetrics, OnEpoch
from triptych.training.examples import select_examples
from triptych.training.jobs import PanelJob
from triptych.training.loop import fit_network
from triptych.training.mlp import build_mlp
from triptych.transfer.records import EmbeddingRecord


class MLPTrainer:
    """Trains `numpy-mlp` or `torch-mlp`; a `triptych.panels.fitting.Trainer`."""

    embedded = None

    def __init__(self, data: BoardData, job: PanelJob, embedded: EmbeddingRecord | None) -> None:  # noqa: ARG002 - Trainer's
        """Scale the pixels of the training and the validation set."""
        self.select(data, job)

    def select(self, data: BoardData, job: PanelJob) -> None:
        """Scale the pixels of the parts of another fold."""
        settings: MLPConfig = job.settings
        self._data, self._job = data, job
        self._parts = select_examples(
            data, lambda part: scale_pixels(data.pixels[part], settings.dtype, settings.input_range)
        )

    def train(self, settings: MLPConfig, on_epoch: OnEpoch, checkpoint: CheckpointFile | None = None) -> Trained:
        """Train by minibatch gradient descent; save the weights of every epoch if twins are compared."""
        train, validation = self._parts
        rng = np.random.default_rng(self._job.repeat)
        classes = len(self._data.prepared.classes)
        network = build_mlp(KINDS[self._job.kind].network, settings, train.features.shape[1], classes, rng)

        def save_and_report(metrics: EpochMetrics) -> None:
            if are_compared(self._data.prepared.config):
                save_weights(weights_file(self._job, metrics.epoch), network.layers)
            recorder(metrics)

        recorder = CurveRecorder(on_epoch)
        fit_network(network, settings, train, validation, rng=rng, on_epoch=save_and_report, checkpoint=checkpoint)
        height, width, channels = self._data.pixels.shape[1:]
        return Trained(
            PixelNetwork(network, (height, width, channels), settings.input_range),
            parameters=sum(array.size for layer in network.layers for array in layer),
            describe=lambda: describe_epochs(recorder.curve, settings),
        )

    def predict(self, network: PixelNetwork, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the probabilities of images of the board, (n, classes), from their stored pixels."""
        return network.predict_images(self._data.pixels[indices])

    def extract(self, network: PixelNetwork, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the features of images of the board, (n, dimension), from their stored pixels."""
        return network.extract(self._data.pixels[indices])
