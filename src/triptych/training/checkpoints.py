"""Training state on disk: a resumed training ends exactly as if it had never stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import CheckpointError
from triptych.system.checked import read_arrays, recall, verify, write_checked
from triptych.training.epochs import EpochMetrics

Arrays = dict[str, NDArray[Any]]
# What the checksums of checkpoints cover besides the content. Their names may change: users may move them.
PURPOSE = "checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after one of its epochs.

    Attributes:
        curve: the metrics of every epoch so far.
        rng: state of the generator for the order of the examples and for dropout, as NumPy returns it.
        network: weights and momentum by name.
        best: the same after the best epoch on the validation set; empty if it is not kept.
        names: other arguments needed to rebuild the model, as JSON values.
    """

    curve: tuple[EpochMetrics, ...]
    rng: Mapping[str, Any]
    network: Arrays
    best: Arrays
    names: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointFile:
    """The file for the checkpoints of one training; each replaces the one before.

    Attributes:
        file: an `.npz` file, replaced atomically.
        key: identifies the training: its data, settings and seed.
        every_epochs: epochs between checkpoints; the last epoch always gets one.

    >>> checkpoint = CheckpointFile(Path("state.npz"), key="digits, seed 0", every_epochs=10)
    >>> checkpoint.is_due(5), checkpoint.is_due(20)
    (False, True)
    """

    file: Path
    key: str
    every_epochs: int = 1

    def is_due(self, epoch: int) -> bool:
        """Return whether a checkpoint is due after an epoch, counted from 1."""
        return epoch % self.every_epochs == 0

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, which replaces the last one.

        Raises:
            StorageError: there is no room, no permission, or something else in the way.
        """
        description = {
            "key": self.key,
            "curve": [asdict(metrics) for metrics in checkpoint.curve],
            "rng": checkpoint.rng,
            "names": dict(checkpoint.names),
        }
        arrays = _prefix("network", checkpoint.network) | _prefix("best", checkpoint.best)
        with write_checked(self.file, PURPOSE) as stream:
            np.savez(stream, description=np.frombuffer(json.dumps(description).encode(), np.uint8), **arrays)  # type: ignore[arg-type]  # NumPy's stub takes every keyword for a flag

    def count_epochs(self) -> int:
        """Return the number of epochs in the last checkpoint; 0 if there is none or it is damaged."""
        return len((self._describe() or {"curve": ()})["curve"])

    def belongs_to_another(self) -> bool:
        """Return whether the file holds a sound checkpoint of another training."""
        description = self._describe()
        return description is not None and description["key"] != self.key

    def _describe(self) -> dict[str, Any] | None:
        """Return everything in the last checkpoint but its arrays; None if there is none or it is damaged."""
        return recall(self._read_description)

    def _read_description(self) -> dict[str, Any]:
        verify(self.file, PURPOSE)
        with np.load(self.file, allow_pickle=False) as stored:
            description: dict[str, Any] = json.loads(stored["description"].tobytes())
        return description

    def load(self) -> Checkpoint | None:
        """Return the last checkpoint; None if there is none or it is damaged, so that training starts from scratch.

        Raises:
            CheckpointError: the checkpoint has another key.
        """
        description = self._describe()
        if description is None:
            return None
        if description["key"] != self.key:
            raise CheckpointError(
                f"checkpoint {self.file} belongs to a training with other data, settings or seed: "
                "choose another file, or delete this one"
            )
        arrays = read_arrays(self.file)
        curve = tuple(EpochMetrics(**metrics) for metrics in description["curve"])
        network, best = _select("network", arrays), _select("best", arrays)
        return Checkpoint(curve, description["rng"], network, best, description.get("names", {}))


def save_weights(file: Path, layers: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> None:
    """Write the weight and bias of every layer, unless the file exists and is sound.

    Raises:
        StorageError: there is no room, no permission, or something else in the way.
    """
    if recall(partial(load_weights, file)) is None:
        with write_checked(file, name_weights(file)) as stream:
            np.savez(stream, *[np.ascontiguousarray(array) for layer in layers for array in layer])


def load_weights(file: Path) -> list[NDArray[Any]]:
    """Return the arrays that `save_weights` wrote: the weight and the bias of each layer in turn.

    Raises:
        DamagedFileError: the file is not what was written.
        FileNotFoundError: there is no such file.
    """
    verify(file, name_weights(file))
    return list(read_arrays(file).values())


def name_weights(file: Path) -> str:
    """Return what the checksum of a file of `save_weights` covers besides its content: training and epoch."""
    return "/".join(file.parts[-3:])


def _prefix(group: str, arrays: Arrays) -> Arrays:
    return {f"{group}/{name}": array for name, array in arrays.items()}


def _select(group: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(f"{group}/"): array for name, array in arrays.items() if name.startswith(f"{group}/")}
