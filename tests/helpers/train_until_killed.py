"""A training with checkpoints in a process of its own, to be killed: python train_until_killed.py NETWORK [FILE]."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

from triptych.config.trainers import MLPConfig
from triptych.networks.minibatches import Examples
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import EpochMetrics
from triptych.training.mlp import train_mlp

EPOCHS = 100
SETTINGS = MLPConfig(
    hidden_units=(8, 5),
    activation="relu",
    loss="cross_entropy",
    momentum=0.9,
    weight_decay=1e-3,
    dropout=0.2,
    schedule="cosine",
    batch_size=13,
    epochs=EPOCHS,
    keep_best_epoch=True,
)


def say_epoch(metrics: EpochMetrics) -> None:
    """Print the number of the epoch."""
    print(metrics.epoch, flush=True)


def main() -> None:
    """Train, print each epoch, and at last the hash of the weights."""
    network, *files = sys.argv[1:]
    rng = np.random.default_rng(0)
    parts = [Examples(rng.normal(size=(rows, 6)).astype(np.float32), rng.integers(0, 3, rows)) for rows in (120, 40)]
    checkpoint = CheckpointFile(Path(files[0]), "killed") if files else None
    trained = train_mlp(network, SETTINGS, *parts, classes=3, seed=2, on_epoch=say_epoch, checkpoint=checkpoint)
    print(hashlib.sha256(b"".join(array.tobytes() for layer in trained.layers for array in layer)).hexdigest())


if __name__ == "__main__":
    main()
