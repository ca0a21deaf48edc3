"""One panel on one board: from the stored data to a trained model in a folder. Knows no tracker."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.config.schema import MLPConfig, TrainingConfig, TransferConfig
from triptych.data.boards import Board
from triptych.errors import FrozenError
from triptych.evaluation.evaluator import Probe, choose_probe
from triptych.images.pixels import scale_pixels
from triptych.networks.minibatches import EpochMetrics, Examples, OnEpoch
from triptych.networks.saved import PixelNetwork, save_mlp, save_transfer
from triptych.panels.identity import TRAINING, find_checkpoint, identify_training, weights_file
from triptych.panels.twins import are_compared
from triptych.system.threads import count_cores, limit_blas_threads
from triptych.training.checkpoints import save_weights
from triptych.training.jobs import PanelJob
from triptych.training.loop import choose_epoch, fit_network
from triptych.training.mlp import build_mlp
from triptych.transfer.records import EmbeddingRecord, load_embeddings

MEBIBYTE = 2**20


@dataclass(frozen=True)
class FittedPanel:
    """A trained panel on disk.

    Attributes:
        folder: what `triptych.networks.saved` wrote.
        probe: some images and the probabilities that the trainer saw for them.
        metrics: the final metrics that training knows, by MLflow's name.
        curves: the metrics of every epoch by name.
        restored_epochs: how many epochs came from an earlier training that was the same so far.
        tags: what else a reader should know.
    """

    folder: Path
    probe: Probe
    metrics: dict[str, float]
    curves: dict[str, list[float]]
    restored_epochs: int = 0
    tags: dict[str, str] = field(default_factory=dict)


class CurveRecorder:
    """Keeps the metrics of every epoch and hands them on."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        """Remember who else wants them."""
        self.curve: list[EpochMetrics] = []
        self._on_epoch = on_epoch

    def __call__(self, metrics: EpochMetrics) -> None:
        """Keep and hand on the metrics of one epoch."""
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

    def describe(self, settings: TrainingConfig) -> dict[str, str]:
        """Return what a reader should know of the training, as tags."""
        return {
            "threads": str(settings.threads),
            "trained_epochs": f"{len(self.curve)} of {settings.epochs}",
            "chosen_epoch": str(choose_epoch(self.curve, settings)),
        }


def fit_mlp(board: Board, job: PanelJob, folder: Path, on_epoch: OnEpoch) -> FittedPanel:
    """Train one of the two multilayer perceptrons, or take it up where it was left, and write it to `folder`.

    Raises:
        DivergenceError: a step or the training loss is no finite number.
    """
    settings: MLPConfig = getattr(board.record.config, job.kind)
    rows = scale_pixels(board.pixels, settings.dtype, settings.input_range)
    train, validation = _select_examples(board, rows)
    recorder = CurveRecorder(on_epoch)
    checkpoint = find_checkpoint(job)
    restored = checkpoint.count_epochs() if checkpoint else 0
    with limit_blas_threads(settings.threads):
        rng = np.random.default_rng(job.repeat)
        network = build_mlp(job.kind, settings, train.features.shape[1], len(board.record.classes), rng)

        def keep_and_report(metrics: EpochMetrics) -> None:
            if are_compared(board.record.config):
                save_weights(weights_file(job, metrics.epoch), network.layers)
            recorder(metrics)

        fit_network(network, settings, train, validation, rng=rng, on_epoch=keep_and_report, checkpoint=checkpoint)
        indices = choose_probe(board, board.record.config.evaluate.probe_images)
        probe = Probe(indices, network.predict_proba(rows[indices]))
    height, width, channels = board.pixels.shape[1:]
    save_mlp(
        job.kind, PixelNetwork(network, (height, width, channels), settings.input_range), board.record.classes, folder
    )
    parameters = sum(array.size for layer in network.layers for array in layer)
    metrics = measure_fit(recorder, folder, parameters)
    tags = recorder.describe(settings) | {TRAINING: identify_training(job)}
    return FittedPanel(folder, probe, metrics, recorder.curves, restored, tags)


def fit_transfer(
    board: Board, job: PanelJob, folder: Path, on_epoch: OnEpoch, *, embedded: EmbeddingRecord
) -> FittedPanel:
    """Train a new last layer on a frozen network and write both to `folder`; fine-tune where the settings say so.

    Args:
        board: the board.
        job: the panel and its repeat.
        folder: is created.
        on_epoch: called with the metrics of each epoch.
        embedded: the record of the stored embeddings.

    Raises:
        DivergenceError: a step or the training loss is no finite number.
        FrozenError: the frozen network has changed.
    """
    from triptych.networks.backbones import load_backbone
    from triptych.networks.head import TransferNetwork, train_head
    from triptych.networks.precision import find_device
    from triptych.transfer.embed import LiveEmbeddings
    from triptych.transfer.plan import find_embeddings

    settings = board.record.config.transfer
    if settings.fine_tunes:
        from triptych.panels.fine_tuned import fit_fine_tuned

        return fit_fine_tuned(board, job, folder, on_epoch, embedded=embedded)
    backbone = load_backbone(job.panel, settings.weights).on_device(find_device()).in_format(embedded.number_format)
    embedded = find_embeddings(board, job.panel, embedded)
    stored = load_embeddings(embedded)
    everything = np.arange(len(board.images))
    features = LiveEmbeddings(backbone, board.images, everything, settings.embedding_batch_size)
    recorder = CurveRecorder(on_epoch)
    checkpoint = find_checkpoint(job, embedded)
    restored = checkpoint.count_epochs() if checkpoint else 0
    with limit_blas_threads(settings.threads):
        head = train_head(
            settings,
            *_select_examples(board, stored if settings.cache_embeddings else features),
            classes=len(board.record.classes),
            dropout=backbone.head_dropout,
            seed=job.repeat,
            on_epoch=recorder,
            checkpoint=checkpoint,
        )
    after = backbone.digest()
    if after != embedded.backbone_digest:
        raise FrozenError(f"{job.panel} was frozen, but differs after training from what the embeddings came from")
    indices = choose_probe(board, board.record.config.evaluate.probe_images)
    probe = Probe(indices, head.predict_proba(stored[indices]))
    save_transfer(TransferNetwork(backbone, head, settings.embedding_batch_size), board.record.classes, folder)
    learned = sum(parameter.numel() for parameter in head.linear.parameters())
    frozen = sum(parameter.numel() for parameter in backbone.trunk.parameters())
    metrics = measure_fit(recorder, folder, learned + frozen) | {"embed_seconds": embedded.seconds}
    tags = recorder.describe(settings) | _describe_transfer(settings, embedded, after)
    tags |= {"trained_parameters": str(learned), TRAINING: identify_training(job, embedded)}
    if head.iterations:
        tags |= {"trained_epochs": "1 of 1", "lbfgs_iterations": str(head.iterations)}
    return FittedPanel(folder, probe, metrics, recorder.curves, restored, tags)


def _describe_transfer(settings: TransferConfig, embedded: EmbeddingRecord, digest_after: str) -> dict[str, str]:
    return {
        "weights": settings.weights,
        "embedded_images": f"{embedded.computed_images} of {embedded.images}, the rest was in the store",
        "backbone_sha256_before": embedded.backbone_digest,
        "backbone_sha256_after": digest_after,
        "number_format": embedded.number_format,
        "number_format_reason": embedded.reason,
        "embedding_threads": str(settings.embedding_threads or count_cores()),
    }


def _select_examples(board: Board, rows: Any) -> tuple[Examples, Examples | None]:
    """Return the training and the validation examples; None where the validation part is empty."""
    train, validation = board.split.train, board.split.validation
    labels = board.labels
    chosen = Examples(_take(rows, validation), labels[validation]) if len(validation) else None
    return Examples(_take(rows, train), labels[train]), chosen


def _take(rows: Any, indices: NDArray[np.int64]) -> Any:
    """Return some rows of an array, or of embeddings that are read or computed when asked for."""
    return rows.select(indices) if hasattr(rows, "select") else rows[indices]


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
