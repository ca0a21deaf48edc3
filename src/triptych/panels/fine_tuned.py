"""A fine-tuned network on one board: from the stored data to a trained model in a folder. Knows no tracker."""

from __future__ import annotations

from pathlib import Path

from triptych.config.trainers import TransferConfig
from triptych.data.boards import BoardData
from triptych.networks.saved import save_transfer
from triptych.panels.fitting import CurveRecorder, FittedPanel, measure_fit
from triptych.panels.identity import TRAINING, find_checkpoint, identify_training
from triptych.panels.reference import ReferencePredictions, choose_reference_images
from triptych.training.epochs import OnEpoch
from triptych.training.examples import select_parts
from triptych.training.jobs import PanelJob
from triptych.training.loop import fit_network
from triptych.transfer.finetuning.data_parallel import count_processes, train_in_processes
from triptych.transfer.finetuning.steps import FineTuning
from triptych.transfer.records import EmbeddingRecord
from triptych.transfer.weights import load_backbone


def fit_fine_tuned(
    data: BoardData, job: PanelJob, folder: Path, on_epoch: OnEpoch, *, embedded: EmbeddingRecord
) -> FittedPanel:
    """Train the head and the last blocks of a network on images and write the whole to `folder`.

    Args:
        data: the board.
        job: the panel and its repeat.
        folder: is created.
        on_epoch: called with the metrics of each epoch.
        embedded: names the pretrained network that the training starts from.

    Raises:
        ConfigError: there are fewer blocks, or fewer GPUs, than asked for.
        DivergenceError: a step or the training loss is no finite number.
        FrozenError: what was frozen has changed.
        ProcessError: one of several processes ended early.
    """
    settings = data.prepared.config.transfer
    processes = count_processes(settings)
    recorder = CurveRecorder(on_epoch)
    checkpoint = find_checkpoint(job, embedded)
    restored = checkpoint.count_epochs() if checkpoint else 0
    backbone = load_backbone(job.panel, settings.weights)
    tuning = FineTuning(backbone, settings, len(data.prepared.classes), job.repeat)
    if processes > 1:
        tuning.restore_state(train_in_processes(job, processes, checkpoint, recorder))
    else:
        parts = select_parts(data)
        fit_network(tuning, settings, *parts, rng=tuning.rng, on_epoch=recorder, checkpoint=checkpoint)
    network = tuning.finish()
    indices = choose_reference_images(data, data.prepared.config.evaluate.reference_images)
    reference = ReferencePredictions(indices, network.predict_images([data.images[int(index)] for index in indices]))
    save_transfer(network, data.prepared.classes, folder)
    parameters = sum(parameter.numel() for parameter in tuning.network.parameters())
    metrics = measure_fit(recorder, folder, parameters) | {"embed_seconds": embedded.seconds}
    tags = recorder.describe(settings) | _describe(tuning, settings, processes)
    tags["backbone_sha256_before"], tags["backbone_sha256_after"] = backbone.digest(), network.backbone.digest()
    tags[TRAINING] = identify_training(job, embedded)
    return FittedPanel(folder, reference, metrics, recorder.curves, restored, tags)


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
