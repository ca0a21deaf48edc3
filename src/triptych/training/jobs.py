"""Training jobs: one panel of a board, with one seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from triptych.config.names import RANDOM, list_parts
from triptych.config.trainers import TRANSFER, kind_of_panel
from triptych.data.boards import PreparedBoard


@dataclass(frozen=True)
class PanelJob:
    """One training of one panel of a board.

    Attributes:
        prepared: the board.
        panel: name of the panel, such as `numpy-mlp` or `resnet50`.
        repeat: number of this training among the panel's, from 0; also its seed.
        fresh_since: seconds since 1970; an earlier result of the same training is not reused.
    """

    prepared: PreparedBoard
    panel: str
    repeat: int
    fresh_since: float | None = None

    @property
    def kind(self) -> str:
        """The kind of the panel, also the name of its section of the configuration."""
        return kind_of_panel(self.panel)

    @property
    def settings(self) -> Any:
        """The panel's section of the configuration."""
        return self.prepared.config.settings_of(self.panel)

    @property
    def label(self) -> str:
        """The panel's display name, which says if its backbone, or which of them, has random weights."""
        if self.kind != TRANSFER:
            return self.panel
        parts, weights = list_parts(self.panel), self.prepared.config.list_weights(self.panel)
        random = [part for part, one in zip(parts, weights, strict=True) if one == RANDOM]
        whose = f"{', '.join(random)} with " if len(random) < len(parts) else ""
        return f"{self.panel} ({whose}random weights)" if random else self.panel

    @property
    def run_label(self) -> str:
        """The label, with the number of the repeat if there are several."""
        return f"{self.label} #{self.repeat}" if self.prepared.config.repeats > 1 else self.label


def list_jobs(prepared: PreparedBoard, *, fresh_since: float | None = None) -> list[PanelJob]:
    """Return all trainings of a board: each repeat of each panel."""
    config = prepared.config
    return [
        PanelJob(replace(prepared, config=config.for_panel(panel)), panel, repeat, fresh_since)
        for panel in config.panels
        for repeat in range(config.repeats)
    ]
