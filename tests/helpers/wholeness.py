"""What a comparison must leave, whatever happened meanwhile: one run for each panel, each epoch once, the same bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import mlflow
import numpy as np

from helpers.epochs import count_epochs
from helpers.forks import Command
from triptych.config.resolve import resolve_config
from triptych.tracking.tags import COMPARISON, read_tags

CURVES = ("train_loss", "val_loss", "val_log_loss", "train_accuracy", "val_accuracy", "epoch_seconds")
WEIGHTS = {"weights.npz", "weights.safetensors", "head.safetensors"}


@dataclass(frozen=True)
class Work:
    """A comparison of panels of the digits."""

    panels: tuple[str, ...]
    settings: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """The command line."""
        options = [("--panel", panel) for panel in self.panels] + [("--set", setting) for setting in self.settings]
        return ["compare", *(part for option in options for part in option)]

    @cached_property
    def epochs(self) -> dict[str, int]:
        """The epochs of each panel."""
        return count_epochs(resolve_config("digits", panels=self.panels, settings=self.settings).boards[0])

    def check(
        self, command: Command, *, board: str = "digits", comparison: str = "", like: Command | None = None
    ) -> None:
        """Check that a comparison is complete, and has nothing twice.

        Args:
            command: with the store.
            board: the name of the board.
            comparison: its id; by default it is the only one of the board.
            like: with the store of a comparison that must have the same weights.
        """
        tagged = [run for run in command.runs(board) if COMPARISON in read_tags(run)]
        runs = [run for run in tagged if comparison in read_tags(run)[COMPARISON]]
        assert sorted(read_tags(run).get("panel", "comparison") for run in runs) == sorted([*self.epochs, "comparison"])
        assert {run.info.status for run in runs} == {"FINISHED"}
        client = mlflow.MlflowClient(f"sqlite:///{command.store}")
        for run in runs:
            panel = read_tags(run).get("panel", "")
            assert not panel or set(CURVES) <= set(run.data.metrics)
            for name in run.data.metrics:
                steps = [point.step for point in client.get_metric_history(run.info.run_id, name)]
                assert len(steps) == len(set(steps)), (panel, name)
                assert not panel or name not in CURVES or steps == list(range(1, self.epochs[panel] + 1)), (panel, name)
        if like is not None:
            for panel in self.panels:
                assert load_weights(command, panel, board) == load_weights(like, panel), panel


def is_reported(command: Command) -> bool:
    """Return whether a comparison in the store is complete."""
    return any("reported" in read_tags(run) for run in command.runs())


def load_weights(command: Command, panel: str, board: str = "digits") -> bytes:
    """Return the weights of a panel's model."""
    [run] = [run for run in command.runs(board) if read_tags(run).get("panel") == panel]
    # What a killed process left of a model is deleted, but stays among the run's outputs.
    name = read_tags(run)["model_uri"].rpartition("/")[2]
    folder = next(path for path in command.store.parent.rglob(name) if (path / "artifacts").is_dir())
    [weights] = [file for file in sorted((folder / "artifacts" / "data").rglob("*")) if file.name in WEIGHTS]
    if weights.suffix != ".npz":
        return weights.read_bytes()
    arrays = np.load(weights)  # the archive itself notes when it was written
    return b"".join(arrays[name].tobytes() for name in sorted(arrays.files))
