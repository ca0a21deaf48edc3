"""One panel on one board: from the stored data to a trained model in a folder. Knows no tracker."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field
from pathlib import Path

from triptych.config.trainers import TrainingConfig
from triptych.panels.reference import ReferencePredictions
from triptych.training.epochs import EpochMetrics, OnEpoch
from triptych.training.loop import choose_epoch

MEBIBYTE = 2**20


@dataclass(frozen=True)
class FittedPanel:
    """A trained panel on disk.

    Attributes:
        folder: what `triptych.networks.saved` wrote.
        reference: some images and the probabilities that the trainer saw for them.
        metrics: the final metrics that training knows, by MLflow's name.
        curves: the metrics of every epoch by name.
        restored_epochs: how many epochs came from an earlier training that was the same so far.
        tags: what else a reader should know.
    """

    folder: Path
    reference: ReferencePredictions
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
