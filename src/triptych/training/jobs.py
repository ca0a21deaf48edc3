"""What is to be trained: one panel of a board, with one seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from triptych.config.trainers import TRANSFER, kind_of_panel
from triptych.data.boards import PreparedBoard


@dataclass(frozen=True)
class PanelJob:
    """One panel of a board, to be trained once.

    Attributes:
        prepared: the board.
        panel: `numpy-mlp`, `torch-mlp` or the name of a torchvision network.
        repeat: which of its trainings this is, from 0; also its seed.
        fresh_since: seconds since 1970: the same training on disk is not taken up if it is from before then.
    """

    prepared: PreparedBoard
    panel: str
    repeat: int
    fresh_since: float | None = None

    @property
    def kind(self) -> str:
        """The kind of the panel, which names its section of the configuration."""
        return kind_of_panel(self.panel)

    @property
    def settings(self) -> Any:
        """Its section of the configuration."""
        return self.prepared.config.settings_of(self.panel)

    @property
    def label(self) -> str:
        """The panel's name for people; weights that know nothing are called random everywhere."""
        unlearned = self.kind == TRANSFER and self.prepared.config.transfer.weights == "random"
        return f"{self.panel} (random weights)" if unlearned else self.panel

    @property
    def run_label(self) -> str:
        """The label, with the repeat where there are several."""
        return f"{self.label} #{self.repeat}" if self.prepared.config.repeats > 1 else self.label


def list_jobs(prepared: PreparedBoard, *, fresh_since: float | None = None) -> list[PanelJob]:
    """Return every training of a board: each repeat of each panel."""
    config = prepared.config
    return [
        PanelJob(replace(prepared, config=config.for_panel(panel)), panel, repeat, fresh_since)
        for panel in config.panels
        for repeat in range(config.repeats)
    ]
