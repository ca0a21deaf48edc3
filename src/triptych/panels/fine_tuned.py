"""Panels that fine-tune the last blocks of a pretrained network together with a new head."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.config.trainers import TransferConfig
from triptych.data.boards import BoardData
from triptych.images.sources import SelectedImages
from triptych.networks.head import TransferNetwork
from triptych.panels.fitting import CurveRecorder, Trained, describe_epochs
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import OnEpoch
from triptych.training.examples import select_parts
from triptych.training.jobs import PanelJob
from triptych.training.loop import fit_network
from triptych.transfer.finetuning.data_parallel import count_processes, train_in_processes
from triptych.transfer.finetuning.steps import FineTuning
from triptych.transfer.records import EmbeddingRecord
from triptych.transfer.weights import fetch_backbone


class FineTuner:
    """Fine-tunes the last blocks of a pretrained network and a new head; a `triptych.panels.fitting.Trainer`.

    Attributes:
        embedded: the record of the embeddings of the pretrained network, which identifies it; None in a trial.
    """

    def __init__(self, data: BoardData, job: PanelJob, embedded: EmbeddingRecord | None) -> None:
        """Load the pretrained network; images are read during training."""
        self.embedded = embedded
        self._backbone = fetch_backbone(job.panel, job.settings)
        self.select(data, job)

    def select(self, data: BoardData, job: PanelJob) -> None:
        """Select the images of the parts of another fold."""
        self._data, self._job = data, job
        self._parts = select_parts(data)

    def train(self, settings: TransferConfig, on_epoch: OnEpoch, checkpoint: CheckpointFile | None = None) -> Trained:
        """Train in the configured number of processes; raise if a frozen parameter has changed."""
        recorder = CurveRecorder(on_epoch)
        processes = count_processes(settings)
        tuning = FineTuning(self._backbone, settings, len(self._data.prepared.classes), self._job.repeat)
        if processes > 1:
            tuning.restore_state(train_in_processes(self._job, processes, checkpoint, recorder))
        else:
            fit_network(tuning, settings, *self._parts, rng=tuning.rng, on_epoch=recorder, checkpoint=checkpoint)
        network = tuning.finish()
        return Trained(
            network,
            parameters=sum(parameter.numel() for parameter in tuning.network.parameters()),
            describe=lambda: {
                **describe_epochs(recorder.curve, settings),
                **_describe(tuning, settings, processes),
                "backbone_sha256_before": self._backbone.digest(),
                "backbone_sha256_after": network.backbone.digest(),
            },
        )

    def predict(self, network: TransferNetwork, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the probabilities of images of the board, (n, classes), from the raw images."""
        return network.predict_images(SelectedImages(self._data.images, indices))

    def extract(self, network: TransferNetwork, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the features of images of the board, (n, dimension), from the raw images."""
        return network.extract(SelectedImages(self._data.images, indices))


def _describe(tuning: FineTuning, settings: TransferConfig, processes: int) -> dict[str, str]:
    names = ", ".join(block.name for block in tuning.network.blocks) or "none"
    return {
        "weights": settings.weights,
        "device": tuning.device,
        "processes": str(processes),
        "threads": str(max(1, tuning.threads // processes)),
        "trained_blocks": f"{len(tuning.network.blocks)} of {tuning.total_blocks}: {names}",
        "trained_parameters": str(tuning.network.count_trained()),
        "batch_norm": settings.batch_norm,
        "training_precision": settings.training_precision,
        "frozen_sha256_before": tuning.frozen_before,
        "frozen_sha256_after": tuning.network.digest_frozen(),
    }
