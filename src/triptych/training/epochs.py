"""What a training reports after each epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class EpochMetrics:
    """What a trainer reports after each epoch.

    Attributes:
        epoch: from 1.
        epochs: how many there will be at most; in the last one, how many there were.
        train_loss: loss over the whole training part after the epoch; squared error is averaged over the
            outputs too, whatever the gradient does, so that curves can be laid over each other.
        train_accuracy: fraction of the training part classified rightly.
        epoch_seconds: seconds of the epoch's updates alone, without measuring and reporting.
        val_loss: the same loss over the validation part; None where that part is empty.
        val_accuracy: fraction of the validation part classified rightly; None where that part is empty.
    """

    epoch: int
    epochs: int
    train_loss: float
    train_accuracy: float
    epoch_seconds: float
    val_loss: float | None = None
    val_accuracy: float | None = None

    def values(self) -> dict[str, float]:
        """Return the metrics by name, without those that do not exist."""
        names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "epoch_seconds")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


OnEpoch = Callable[[EpochMetrics], None]
