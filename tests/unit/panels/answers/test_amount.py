from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.errors import ConfigError
from triptych.panels.answers.amount import choose_sizes, draw_subsets, embed_panels, train_on_subsets
from triptych.training.jobs import list_jobs


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BoardData:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    config = resolve_config("digits", panels=["nearest-neighbours", "most-frequent"]).boards[0]
    return load_board(prepare_board(config))


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"70 training images of 10 classes are too few .* needs 80"):
        choose_sizes(70, 10)
    assert choose_sizes(80, 10) == [40, 57, 80]


def test_every_size_is_tested_on_the_same_images_and_more_of_them_help(data: BoardData) -> None:
    subsets = draw_subsets(data, 2)
    share = len(data.split.validation) / len(data.split.train)
    assert [len(one.validation) / len(one.train) for one in subsets] == pytest.approx([share] * 14, rel=0.05)
    assert not any(np.isin(data.split.test, [*one.train, *one.validation]).any() for one in subsets)
    done: list[int] = []
    correct = train_on_subsets(
        data, list_jobs(data.prepared)[0], subsets, None, on_training=lambda number, total: done.append(number)
    )
    assert correct.shape == (7, 2, len(data.split.test))
    assert (np.diff(correct.mean(axis=(1, 2))) > -0.01).all()
    assert correct[-1].mean() > correct[0].mean() + 0.05
    # All images leave nothing to draw, and this panel has no seed.
    assert np.array_equal(correct[-1, 0], correct[-1, 1])
    assert done == list(range(1, 15))


def test_a_board_without_backbones_is_not_embedded(data: BoardData) -> None:
    assert embed_panels(data) == {}
