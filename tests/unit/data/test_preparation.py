from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from triptych.config.resolve import resolve_config
from triptych.data.datasets import Dataset, fetch_dataset
from triptych.data.preparation import boards_prepared_once, prepare_once
from triptych.errors import DataError


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The data sets that are loaded during a test."""
    sources: list[str] = []

    def load_and_note(source: str, **options: Any) -> Dataset:
        sources.append(source)
        return fetch_dataset(source, **options)

    monkeypatch.setattr("triptych.data.boards.fetch_dataset", load_and_note)
    return sources


def test_a_board_is_loaded_once_in_the_block_and_again_after_it(photos: Path, loaded: list[str]) -> None:
    [board] = resolve_config("photos", data=str(photos), panels=["numpy-mlp"]).boards
    other = board.model_copy(update={"split": board.split.model_copy(update={"seed": 7})})
    with boards_prepared_once():
        first = prepare_once(board)
        assert prepare_once(board.model_copy()) is first
        assert prepare_once(other).split_id != first.split_id
    assert len(loaded) == 2
    assert prepare_once(board) == first
    assert prepare_once(board) is not first
    assert len(loaded) == 4


def test_damage_after_the_block_is_found(tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    folder = make_photos(tmp_path / "photos", {"a": 8, "b": 8})
    [board] = resolve_config("photos", data=str(folder), panels=["numpy-mlp"]).boards
    with boards_prepared_once():
        prepare_once(board)
    (folder / "a" / "2.jpg").write_bytes(b"\xff\xd8 no more")
    with boards_prepared_once(), pytest.raises(DataError, match=r"2\.jpg"):
        prepare_once(board)
