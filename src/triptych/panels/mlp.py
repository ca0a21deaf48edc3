"""Fit one of the two multilayer perceptrons on the pixels of a board."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from triptych.config.trainers import MLPConfig
from triptych.data.boards import BoardData
from triptych.images.pixels import scale_pixels
from triptych.networks.saved import PixelNetwork, save_mlp
from triptych.panels.fitting import CurveRecorder, FittedPanel, measure_fit
from triptych.panels.identity import TRAINING, find_checkpoint, identify_training, weights_file
from triptych.panels.reference import ReferencePredictions, choose_reference_images
from triptych.panels.twins import are_compared
from triptych.system.threads import limit_blas_threads
from triptych.training.checkpoints import save_weights
from triptych.training.epochs import EpochMetrics, OnEpoch
from triptych.training.examples import select_examples
from triptych.training.jobs import PanelJob
from triptych.training.loop import fit_network
from triptych.training.mlp import build_mlp


def fit_mlp(data: BoardData, job: PanelJob, folder: Path, on_epoch: OnEpoch) -> FittedPanel:
    """Train one of the two multilayer perceptrons, or take it up where it was left, and write it to `folder`.

    Raises:
        DivergenceError: a step or the training loss is no finite number.
    """
    settings: MLPConfig = getattr(data.prepared.config, job.kind)
    rows = scale_pixels(data.pixels, settings.dtype, settings.input_range)
    train, validation = select_examples(data, rows)
    recorder = CurveRecorder(on_epoch)
    checkpoint = find_checkpoint(job)
    restored = checkpoint.count_epochs() if checkpoint else 0
    with limit_blas_threads(settings.threads):
        rng = np.random.default_rng(job.repeat)
        network = build_mlp(job.kind, settings, train.features.shape[1], len(data.prepared.classes), rng)

        def keep_and_report(metrics: EpochMetrics) -> None:
            if are_compared(data.prepared.config):
                save_weights(weights_file(job, metrics.epoch), network.layers)
            recorder(metrics)

        fit_network(network, settings, train, validation, rng=rng, on_epoch=keep_and_report, checkpoint=checkpoint)
        indices = choose_reference_images(data, data.prepared.config.evaluate.reference_images)
        reference = ReferencePredictions(indices, network.predict_proba(rows[indices]))
    height, width, channels = data.pixels.shape[1:]
    save_mlp(
        job.kind, PixelNetwork(network, (height, width, channels), settings.input_range), data.prepared.classes, folder
    )
    parameters = sum(array.size for layer in network.layers for array in layer)
    metrics = measure_fit(recorder, folder, parameters)
    tags = recorder.describe(settings) | {TRAINING: identify_training(job)}
    return FittedPanel(folder, reference, metrics, recorder.curves, restored, tags)
