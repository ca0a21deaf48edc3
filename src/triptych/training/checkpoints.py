"""The state of a training on disk, from which it continues as if it had never stopped."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import CheckpointError
from triptych.system.files import replace_atomically
from triptych.training.epochs import EpochMetrics

Arrays = dict[str, NDArray[Any]]
# What `np.load` raises for a file that is cut off or damaged; each part of it carries a checksum.
DAMAGE = (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError)


@dataclass(frozen=True)
class Checkpoint:
    """A training after one of its epochs.

    Attributes:
        curve: the metrics of every epoch so far.
        rng: state of the generator that draws the order of the images and what is dropped; NumPy's own words.
        network: weights and momentum by name.
        best: the same after the best epoch on validation; empty where none is kept.
        names: what else it takes to build the model again, as JSON values.
    """

    curve: tuple[EpochMetrics, ...]
    rng: Mapping[str, Any]
    network: Arrays
    best: Arrays
    names: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointFile:
    """Where the checkpoints of one training go; each replaces the one before it.

    Attributes:
        file: an `.npz` file; it is whole or absent, whenever the process dies.
        key: names the training: data, settings and seed.
        every_epochs: epochs between two checkpoints; the last epoch always gets one.
    """

    file: Path
    key: str
    every_epochs: int = 1

    def is_due(self, epoch: int) -> bool:
        """Return whether there is a checkpoint after an epoch, from 1."""
        return epoch % self.every_epochs == 0

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint in place of the last one."""
        description = {
            "key": self.key,
            "curve": [asdict(metrics) for metrics in checkpoint.curve],
            "rng": checkpoint.rng,
            "names": dict(checkpoint.names),
        }
        arrays = _prefix("network", checkpoint.network) | _prefix("best", checkpoint.best)
        with replace_atomically(self.file) as partial:
            np.savez(partial, description=np.frombuffer(json.dumps(description).encode(), np.uint8), **arrays)  # type: ignore[arg-type]  # NumPy's stub takes every keyword for a flag

    def count_epochs(self) -> int:
        """Return how many epochs the last checkpoint has behind it; 0 where there is none that can be read."""
        try:
            with np.load(self.file, allow_pickle=False) as stored:
                return len(json.loads(stored["description"].tobytes())["curve"])
        except DAMAGE:
            return 0

    def load(self) -> Checkpoint | None:
        """Return the last checkpoint; None where there is none, or where it is damaged: training starts anew.

        Raises:
            CheckpointError: it belongs to a training with another key.
        """
        try:
            with np.load(self.file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            description = json.loads(arrays.pop("description").tobytes())
        except DAMAGE:
            return None
        if description["key"] != self.key:
            raise CheckpointError(
                f"checkpoint {self.file} belongs to a training with other data, settings or seed: "
                "name another file, or delete this one"
            )
        curve = tuple(EpochMetrics(**metrics) for metrics in description["curve"])
        network, best = _select("network", arrays), _select("best", arrays)
        return Checkpoint(curve, description["rng"], network, best, description.get("names", {}))


def save_weights(file: Path, layers: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> None:
    """Write the weight and bias of every layer, unless they are there already."""
    if not file.is_file():
        with replace_atomically(file) as partial:
            np.savez(partial, *[np.ascontiguousarray(array) for layer in layers for array in layer])


def load_weights(file: Path) -> list[NDArray[Any]]:
    """Return what `save_weights` wrote: the weight and the bias of each layer in turn."""
    with np.load(file, allow_pickle=False) as stored:
        return [stored[name] for name in stored.files]


def _prefix(group: str, arrays: Arrays) -> Arrays:
    return {f"{group}/{name}": array for name, array in arrays.items()}


def _select(group: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(f"{group}/"): array for name, array in arrays.items() if name.startswith(f"{group}/")}
