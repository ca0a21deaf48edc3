"""The epochs that panels are trained for."""

from __future__ import annotations

from triptych.config.schema import BoardConfig


def count_epochs(board: BoardConfig) -> dict[str, int]:
    """Return the number of epochs of each panel; a classifier that is fitted at once has one."""
    return {panel: getattr(board.settings_of(panel), "epochs", 1) for panel in board.panels}
