"""The metrics of an epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class EpochMetrics:
    """The metrics that a training reports after each epoch.

    Attributes:
        epoch: number of the epoch, from 1.
        epochs: maximum number of epochs; after the last epoch, the number that was trained.
        train_loss: mean loss over the training set after the epoch, weighted if its images have weights; squared error
            is also averaged over the outputs, even if the gradient sums over them, so that curves are comparable.
        train_accuracy: accuracy on the training set after the epoch.
        epoch_seconds: duration of the updates, without measuring and reporting.
        val_loss: the same loss over the validation set, never weighted; None if there is no validation set.
        val_accuracy: accuracy on the validation set; None if there is no validation set.
        val_log_loss: mean negative logarithm of the true class's probability over the validation set, never weighted:
            the same for every panel, whatever loss it is trained on. It is `val_loss` itself if that is the
            cross-entropy. None if there is no validation set, or in a checkpoint of an earlier version.

    >>> EpochMetrics(epoch=1, epochs=10, train_loss=0.5, train_accuracy=0.8, epoch_seconds=2.0).values()
    {'train_loss': 0.5, 'train_accuracy': 0.8, 'epoch_seconds': 2.0}
    """

    epoch: int
    epochs: int
    train_loss: float
    train_accuracy: float
    epoch_seconds: float
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_log_loss: float | None = None

    def values(self) -> dict[str, float]:
        """Return the metrics by name, without those that are None."""
        names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_log_loss", "epoch_seconds")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


OnEpoch = Callable[[EpochMetrics], None]
