"""A board as a YAML document, which `--config` takes: the record of what was asked."""

from __future__ import annotations

from typing import Any

import yaml

from triptych.config.numbers import read_yaml
from triptych.config.presets import DEFAULT_PRESET, PRESETS
from triptych.config.schema import BoardConfig

# A file starts from a preset, of which it overrides every field; this one has a single board.
(BASE,) = (board.name for board in PRESETS[DEFAULT_PRESET].boards)


def write_board(config: BoardConfig) -> str:
    """Return a board as a complete configuration, in YAML; it needs no preset but for its form.

    >>> write_board(BoardConfig(panels=("numpy-mlp",), repeats=2)).splitlines()[:3]
    ['preset: digits', 'boards:', '  digits:']
    """
    content = {"preset": DEFAULT_PRESET, "boards": {BASE: config.model_dump(mode="json")}}
    text: str = yaml.safe_dump(content, sort_keys=False)
    return text


def read_board(text: str) -> BoardConfig:
    """Return the board that `write_board` wrote.

    Raises:
        ValueError: the text is no such document.

    >>> board = BoardConfig(panels=("numpy-mlp",), repeats=2)
    >>> read_board(write_board(board)) == board
    True
    """
    content: dict[str, Any] = read_yaml(text)
    return BoardConfig.model_validate(content["boards"][BASE])
