from __future__ import annotations

from pathlib import Path

import pytest

from triptych.config.documents import read_board, write_board
from triptych.config.presets import PRESETS
from triptych.config.resolve import resolve_config
from triptych.config.schema import BoardConfig

BOARDS = [board for preset in PRESETS.values() for board in preset.boards]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_the_document_of_each_preset_is_its_board_again(board: BoardConfig, tmp_path: Path) -> None:
    text = write_board(board)
    assert read_board(text) == board
    if board.data.source:
        file = tmp_path / "config.yaml"
        file.write_text(text, encoding="utf-8")
        assert resolve_config(file=file).boards == (board,)


def test_what_was_overridden_is_in_the_document() -> None:
    settings = ["repeats=3", "numpy_mlp.learning_rate=1e-5", "networks.resnet18.learning_rate=0.5"]
    [board] = resolve_config("digits", settings=settings).boards
    assert read_board(write_board(board)) == board
