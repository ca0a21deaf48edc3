"""The number formats of a board's backbones are planned once, and embeddings are found or computed again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.images.sources import ArrayImages
from triptych.transfer.plan import embed_board, plan_board, provide_embeddings
from triptych.transfer.records import load_embeddings

PANEL = "shufflenet_v2_x0_5"


def load_digits(*settings: str) -> BoardData:
    return load_board(prepare_board(resolve_config("digits", panels=[PANEL], settings=settings).boards[0]))


def test_a_format_that_is_configured_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    data = load_digits("transfer.weights=bundled", "transfer.precision=float32")
    monkeypatch.setattr("triptych.transfer.choose_precision.measure_formats", None)
    plan = plan_board(data, data.prepared.config.backbone_panels)
    [planned] = plan.networks.values()
    assert list(plan.networks) == [PANEL]
    assert (planned.number_format, planned.reason) == ("float32", "as configured")
    assert not (tmp_path / "number-formats").exists()


def test_a_machine_without_the_shared_cache_embeds_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "head"))
    data = load_digits()
    data = replace(data, images=ArrayImages(data.pixels[:40]))
    plan = plan_board(data, [PANEL])
    record = embed_board(data, plan, range(1), lambda done, total: None)[PANEL]
    assert provide_embeddings(data, PANEL, record) is record
    expected = load_embeddings(record)[:]
    shutil.rmtree(tmp_path / "head" / "embeddings")
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "worker"))
    found = provide_embeddings(data, PANEL, record)
    assert found.shards[0].is_relative_to(tmp_path / "worker")
    assert found.reason == record.reason
    np.testing.assert_array_equal(load_embeddings(found)[:], expected)
