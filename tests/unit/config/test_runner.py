"""What `--runner` may name, and what a machine does that shares no path with the others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from triptych.config.resolve import resolve_config
from triptych.config.runner import check_runner
from triptych.data.boards import load_board, prepare_board
from triptych.errors import ConfigError, DataError
from triptych.images.sources import ArrayImages
from triptych.transfer.plan import embed_board as embed
from triptych.transfer.plan import find_embeddings, plan_board
from triptych.transfer.records import load_embeddings

PANEL = "shufflenet_v2_x0_5"
IMAGES = 1797


@pytest.mark.parametrize(
    ("runner", "rule"),
    [
        ("ray", "use threads, dask or dask:tcp://HOST:PORT"),
        ("dask:127.0.0.1", "use threads, dask or dask:tcp://HOST:PORT"),
        ("dask:tcp://127.0.0.1:1", "no Dask scheduler answers there"),
        ("dask:tcp://127.0.0.1:99999", "no Dask scheduler answers there"),
    ],
)
def test_a_runner_that_is_none_is_refused(runner: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule) as refused:
        check_runner(runner)
    assert repr(runner) in str(refused.value)


def test_a_machine_without_the_shared_path_prepares_the_board_itself(
    make_photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos(tmp_path / "photos", {"a": 8, "b": 8})
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "head"))
    prepared = prepare_board(resolve_config("photos", data=str(photos)).boards[0])
    there = load_board(prepared)
    pixels, split = there.pixels.copy(), there.split
    shutil.rmtree(tmp_path / "head")
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "worker"))
    here = load_board(prepared)
    assert here.prepared.split_file.is_relative_to(tmp_path / "worker")
    np.testing.assert_array_equal(here.pixels, pixels)
    np.testing.assert_array_equal(here.split.test, split.test)
    (photos / "a" / "0.jpg").unlink()
    shutil.rmtree(tmp_path / "worker")
    with pytest.raises(DataError, match="are not those of the comparison"):
        load_board(prepared)


def test_a_machine_without_the_shared_path_embeds_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "head"))
    data = load_board(prepare_board(resolve_config("digits", panels=[PANEL]).boards[0]))
    data = replace(data, images=ArrayImages(data.images.array[:40]))  # type: ignore[attr-defined]
    planned = plan_board(data, [PANEL])
    record = embed(data, planned, range(1), lambda done, total: None)[PANEL]
    assert find_embeddings(data, PANEL, record) is record
    expected = load_embeddings(record)[:]
    shutil.rmtree(tmp_path / "head" / "embeddings")
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "worker"))
    found = find_embeddings(data, PANEL, record)
    assert found.shards[0].is_relative_to(tmp_path / "worker")
    np.testing.assert_array_equal(load_embeddings(found)[:], expected)
