"""Trainings on disk: where one goes on that was interrupted, and where a finished one is found again.

A training is named by everything that its result depends on: the data, the split, the settings, the seed, the
frozen network, the code and the libraries. Whatever changes, the old training is not found.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import cache
from importlib.metadata import version
from pathlib import Path

from triptych.data.boards import PreparedBoard
from triptych.system.files import touch
from triptych.system.paths import cache_home
from triptych.training.checkpoints import CheckpointFile
from triptych.training.jobs import PanelJob, list_jobs
from triptych.transfer.records import EmbeddingRecord

CHECKPOINT = "checkpoint.npz"
# Tag of a run and of a registered model that names the training.
TRAINING = "training"
# The modules whose code the result of a training depends on, beside the kind's own.
SHARED_MODULES = ("checkpoints", "images", "mlp", "mlp_training", "training", "training_loop")
OWN_MODULES = {
    "numpy_mlp": ("numpy_mlp", "numpy_functions"),
    "torch_mlp": ("gradient_descent", "linear_layers", "torch_mlp", "torch_state"),
    "transfer": (
        *("transfer", "logistic_head", "gradient_descent", "linear_layers", "torch_state"),
        *("embeddings", "embedding_record", "embedding_space", "shards", "reading"),
        *("preprocessing", "number_formats", "backbones"),
        *("augmentation", "blocks", "data_parallel", "fine_tuning", "image_batches", "ranks", "whole_network"),
    ),
}
LIBRARIES = {
    "numpy_mlp": ("numpy",),
    "torch_mlp": ("numpy", "torch"),
    "transfer": ("numpy", "torch", "torchvision", "scikit-learn"),
}


def identify_training(job: PanelJob, embedded: EmbeddingRecord | None = None) -> str:
    """Return the name of a training: a hash of everything that its result depends on.

    Args:
        job: the panel and its repeat.
        embedded: the record of its embeddings, where it stands on a frozen network.
    """
    settings = job.settings.model_dump(mode="json", exclude={"checkpoint_epochs"})
    depends_on = {
        "data": job.prepared.data_digest,
        "pixels": job.prepared.dataset_folder.name,
        "split": job.prepared.split_id,
        "panel": job.panel,
        "settings": settings,
        "seed": job.repeat,
        "embeddings": [shard.name for shard in embedded.shards] if embedded else [],
        "backbone": embedded.backbone_digest if embedded else "",
        "code": _hash_code(job.kind),
        "libraries": {library: version(library) for library in LIBRARIES[job.kind]},
    }
    return f"{job.panel}-{hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:24]}"


def identify_comparison(prepared: PreparedBoard) -> str:
    """Return the name of what a comparison compares: a hash of all that its results depend on."""
    depends_on = {
        "board": prepared.config.model_dump(mode="json", exclude={"pools"}),
        "trainings": [identify_training(job) for job in list_jobs(prepared)],
    }
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:24]


def find_checkpoint(job: PanelJob, embedded: EmbeddingRecord | None = None) -> CheckpointFile | None:
    """Return where a training's checkpoints are, emptied for a fresh one; None where the settings ask for none."""
    name = identify_training(job, embedded)
    folder = cache_home() / "trainings" / name
    if job.fresh_since is not None and not _is_since(folder / CHECKPOINT, job.fresh_since):
        shutil.rmtree(folder, ignore_errors=True)
    every = job.settings.checkpoint_epochs
    touch(folder / CHECKPOINT)
    return CheckpointFile(folder / CHECKPOINT, name, every) if every else None


def weights_file(job: PanelJob, epoch: int) -> Path:
    """Return where the weights of a multilayer perceptron after an epoch, from 1, are kept for its twin."""
    return cache_home() / "trainings" / identify_training(job) / "weights" / f"epoch-{epoch:05}.npz"


def _is_since(file: Path, moment: float) -> bool:
    return file.exists() and file.stat().st_mtime >= moment


@cache
def _hash_code(kind: str) -> str:
    digest = hashlib.sha256()
    for module in (*SHARED_MODULES, *OWN_MODULES[kind]):
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    return digest.hexdigest()
