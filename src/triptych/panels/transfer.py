"""Fit a new last layer on a frozen network's embeddings of a board."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from triptych.config.trainers import TransferConfig
from triptych.data.boards import BoardData
from triptych.errors import FrozenError
from triptych.networks.saved import save_transfer
from triptych.panels.fitting import CurveRecorder, FittedPanel, measure_fit
from triptych.panels.identity import TRAINING, find_checkpoint, identify_training
from triptych.panels.reference import ReferencePredictions, choose_reference_images
from triptych.system.threads import count_cores, limit_blas_threads
from triptych.training.epochs import OnEpoch
from triptych.training.examples import select_examples
from triptych.training.jobs import PanelJob
from triptych.transfer.records import EmbeddingRecord, load_embeddings


def fit_transfer(
    data: BoardData, job: PanelJob, folder: Path, on_epoch: OnEpoch, *, embedded: EmbeddingRecord
) -> FittedPanel:
    """Train a new last layer on a frozen network and write both to `folder`; fine-tune where the settings say so.

    Args:
        data: the board.
        job: the panel and its repeat.
        folder: is created.
        on_epoch: called with the metrics of each epoch.
        embedded: the record of the stored embeddings.

    Raises:
        DivergenceError: a step or the training loss is no finite number.
        FrozenError: the frozen network has changed.
    """
    from triptych.networks.head import TransferNetwork
    from triptych.networks.precision import find_device
    from triptych.transfer.embed import LiveEmbeddings
    from triptych.transfer.heads import train_head
    from triptych.transfer.plan import find_embeddings
    from triptych.transfer.weights import load_backbone

    settings = data.prepared.config.transfer
    if settings.fine_tunes:
        from triptych.panels.fine_tuned import fit_fine_tuned

        return fit_fine_tuned(data, job, folder, on_epoch, embedded=embedded)
    backbone = load_backbone(job.panel, settings.weights).on_device(find_device()).in_format(embedded.number_format)
    embedded = find_embeddings(data, job.panel, embedded)
    stored = load_embeddings(embedded)
    everything = np.arange(len(data.images))
    features = LiveEmbeddings(backbone, data.images, everything, settings.embedding_batch_size)
    recorder = CurveRecorder(on_epoch)
    checkpoint = find_checkpoint(job, embedded)
    restored = checkpoint.count_epochs() if checkpoint else 0
    with limit_blas_threads(settings.threads):
        head = train_head(
            settings,
            *select_examples(data, stored if settings.cache_embeddings else features),
            classes=len(data.prepared.classes),
            dropout=backbone.head_dropout,
            seed=job.repeat,
            on_epoch=recorder,
            checkpoint=checkpoint,
        )
    after = backbone.digest()
    if after != embedded.backbone_digest:
        raise FrozenError(f"{job.panel} was frozen, but differs after training from what the embeddings came from")
    indices = choose_reference_images(data, data.prepared.config.evaluate.reference_images)
    reference = ReferencePredictions(indices, head.predict_proba(stored[indices]))
    save_transfer(TransferNetwork(backbone, head, settings.embedding_batch_size), data.prepared.classes, folder)
    learned = sum(parameter.numel() for parameter in head.linear.parameters())
    frozen = sum(parameter.numel() for parameter in backbone.trunk.parameters())
    metrics = measure_fit(recorder, folder, learned + frozen) | {"embed_seconds": embedded.seconds}
    tags = recorder.describe(settings) | _describe_transfer(settings, embedded, after)
    tags |= {"trained_parameters": str(learned), TRAINING: identify_training(job, embedded)}
    if head.iterations:
        tags |= {"trained_epochs": "1 of 1", "lbfgs_iterations": str(head.iterations)}
    return FittedPanel(folder, reference, metrics, recorder.curves, restored, tags)


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
