"""Panels that train a head on the embeddings of a frozen backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.config.trainers import TransferConfig
from triptych.data.boards import BoardData
from triptych.errors import FrozenError
from triptych.networks.backbones import Backbone
from triptych.networks.combined.network import CombinedNetwork
from triptych.networks.head import Head, TransferNetwork
from triptych.networks.precision import find_device
from triptych.panels.fitting import CurveRecorder, Trained, describe_epochs
from triptych.system.threads import count_threads
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import OnEpoch
from triptych.training.examples import select_examples
from triptych.training.jobs import PanelJob
from triptych.transfer.embed import LiveEmbeddings
from triptych.transfer.heads import train_head, train_standardised_head
from triptych.transfer.plan import provide_embeddings
from triptych.transfer.records import COMBINED, EmbeddingRecord, load_embeddings
from triptych.transfer.weights import fetch_combined


class HeadTrainer:
    """Trains a head on a frozen backbone; a `triptych.panels.fitting.Trainer`.

    Attributes:
        embedded: the record of the stored embeddings, on this machine.
    """

    def __init__(self, data: BoardData, job: PanelJob, embedded: EmbeddingRecord) -> None:
        """Load the backbone, or those that the panel combines, and memory-map their embeddings."""
        fetched = zip(fetch_combined(job.panel, job.prepared.config), embedded.each, strict=True)
        self._backbones = [backbone.on_device(find_device()).in_format(one.number_format) for backbone, one in fetched]
        self.embedded = provide_embeddings(data, job.panel, embedded)
        self._stored = load_embeddings(self.embedded)
        self.select(data, job)

    def select(self, data: BoardData, job: PanelJob) -> None:
        """Select the embeddings of the parts of another fold."""
        settings: TransferConfig = job.settings
        self._data, self._job = data, job
        everything = np.arange(len(data.images))
        live = LiveEmbeddings(self._backbones[0], data.images, everything, settings.embedding_batch_size)
        rows: Any = self._stored if settings.cache_embeddings else live
        self._parts = select_examples(data, rows.select)

    def train(self, settings: TransferConfig, on_epoch: OnEpoch, checkpoint: CheckpointFile | None = None) -> Trained:
        """Train the head. Describing the result raises `FrozenError` if the backbone has changed."""
        recorder = CurveRecorder(on_epoch)
        train = train_head if len(self._backbones) == 1 else train_standardised_head
        head = train(
            settings,
            *self._parts,
            classes=len(self._data.prepared.classes),
            dropout=max(backbone.head_dropout for backbone in self._backbones),
            seed=self._job.repeat,
            on_epoch=recorder,
            checkpoint=checkpoint,
        )
        learned = sum(parameter.numel() for parameter in head.linear.parameters())
        frozen = sum(parameter.numel() for one in self._backbones for parameter in one.trunk.parameters())
        solved = {"trained_epochs": "1 of 1", "lbfgs_iterations": str(head.iterations)} if head.iterations else {}
        return Trained(
            join_head(self._backbones, head, settings.embedding_batch_size),
            parameters=learned + frozen,
            describe=lambda: {
                **describe_epochs(recorder.curve, settings),
                **self._describe(settings),
                "trained_parameters": str(learned),
                **solved,
            },
        )

    def predict(self, network: TransferNetwork, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the probabilities of images of the board, (n, classes), from their stored embeddings."""
        head: Head = network.head
        stored: Any = self._stored.select(indices)
        return head.predict_proba(stored)

    def extract(self, network: TransferNetwork, indices: NDArray[np.int64]) -> NDArray[Any]:  # noqa: ARG002 - Trainer's
        """Return the stored embeddings of images of the board, (n, dimension)."""
        stored: Any = self._stored.select(indices)
        return np.asarray(stored[:])

    def _describe(self, settings: TransferConfig) -> dict[str, str]:
        after = COMBINED.join(backbone.digest() for backbone in self._backbones)
        if after != self.embedded.backbone_digest:
            raise FrozenError(f"{self._job.panel} is frozen, but its weights have changed since it was embedded")
        return {
            "weights": COMBINED.join(backbone.weights for backbone in self._backbones),
            "embedded_images": self.embedded.describe(),
            "backbone_sha256_before": self.embedded.backbone_digest,
            "backbone_sha256_after": after,
            "number_format": self.embedded.number_format,
            "number_format_reason": self.embedded.reason,
            "embedding_threads": str(settings.embedding_threads or count_threads()),
        }


def join_head(backbones: Sequence[Backbone], head: Head, batch_size: int) -> TransferNetwork | CombinedNetwork:
    """Return the whole network of one or more backbones and their head."""
    if len(backbones) == 1:
        return TransferNetwork(backbones[0], head, batch_size)
    return CombinedNetwork(tuple(backbones), head, batch_size)


def predict_embeddings(
    network: TransferNetwork | CombinedNetwork, data: BoardData, embedded: EmbeddingRecord, part: NDArray[np.int64]
) -> NDArray[Any]:
    """Return the probabilities of a part of a board, (n, classes), by applying the head to the stored embeddings.

    The whole network computes the same from images, which the reference predictions have verified.
    """
    stored: Any = load_embeddings(provide_embeddings(data, embedded.panel, embedded))
    return network.head.predict_proba(stored.select(part))
