"""The number formats of a board's backbones are planned once, and embeddings are found or computed again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.models

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.errors import RunInterruptedError, WeightsError
from triptych.images.sources import ArrayImages
from triptych.networks.backbones import Backbone
from triptych.networks.cuts.nodes import Cut
from triptych.transfer.plan import embed_board, plan_board, provide_embeddings
from triptych.transfer.records import EmbeddingPlan, PlannedNetwork, collect_embeddings, load_embeddings
from triptych.transfer.weights import fetch_backbones

PANEL, MISSING = "shufflenet_v2_x0_5", "mobilenet_v3_small"


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


def save_random_weights(hub: Path, name: str) -> None:
    """Put random weights where torchvision keeps those of ImageNet."""
    member = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    (hub / "checkpoints").mkdir(parents=True, exist_ok=True)
    torch.save(torchvision.models.get_model(name).state_dict(), hub / "checkpoints" / member.url.rpartition("/")[2])


@pytest.fixture
def two_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BoardData:
    """A few digits, and two networks; the weights of one of them are missing, and there is no network connection."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    save_random_weights(tmp_path / "torch" / "hub", PANEL)
    settings = ["transfer.weights=imagenet", "transfer.precision=float32"]
    config = resolve_config("digits", panels=[MISSING, PANEL], settings=settings).boards[0]
    data = load_board(prepare_board(config))
    return replace(data, images=ArrayImages(data.pixels[:4]))


def test_missing_weights_leave_the_other_backbones_as_they_are(two_networks: BoardData) -> None:
    plan = plan_board(two_networks, two_networks.prepared.config.backbone_panels)
    assert list(plan.networks) == [PANEL]
    with pytest.raises(WeightsError, match=f"of {MISSING} are not at .* and could not be downloaded"):
        raise plan.failures[MISSING]
    embedded = collect_embeddings(plan, [embed_board(two_networks, plan, range(1), lambda done, total: None)])
    assert embedded.record_of(PANEL).images == 4
    with pytest.raises(WeightsError, match=f"of {MISSING} are not at"):
        embedded.record_of(MISSING)


@pytest.mark.parametrize(
    "error", [WeightsError("the weights are gone"), RuntimeError("not enough memory"), MemoryError()]
)
def test_a_backbone_that_fails_while_it_embeds_fails_alone(
    two_networks: BoardData, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fetch_or_fail(name: str, weights: str, cuts: list[Cut]) -> list[Backbone]:
        if name == MISSING:
            raise error
        return fetch_backbones(name, weights, cuts)

    monkeypatch.setattr("triptych.transfer.plan.fetch_backbones", fetch_or_fail)
    plan = EmbeddingPlan(dict.fromkeys((MISSING, PANEL), PlannedNetwork("float32", "as configured", 0.0)))
    embedded = embed_board(two_networks, plan, range(1), lambda done, total: None)
    assert embedded.record_of(PANEL).images == 4
    assert embedded.failures == {MISSING: error}


def test_what_concerns_every_backbone_is_raised(two_networks: BoardData) -> None:
    def stop(done: int, total: int) -> None:
        raise RunInterruptedError(f"interrupted after {done} of {total}")

    plan = EmbeddingPlan({PANEL: PlannedNetwork("float32", "as configured", 0.0)})
    with pytest.raises(RunInterruptedError):
        embed_board(two_networks, plan, range(1), stop)


def test_a_machine_without_the_shared_cache_embeds_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "head"))
    data = load_digits()
    data = replace(data, images=ArrayImages(data.pixels[:40]))
    plan = plan_board(data, [PANEL])
    record = embed_board(data, plan, range(1), lambda done, total: None).record_of(PANEL)
    assert provide_embeddings(data, PANEL, record) is record
    expected = load_embeddings(record)[:]
    shutil.rmtree(tmp_path / "head" / "embeddings")
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "worker"))
    found = provide_embeddings(data, PANEL, record)
    assert found.shards[0].is_relative_to(tmp_path / "worker")
    assert found.reason == record.reason
    np.testing.assert_array_equal(load_embeddings(found)[:], expected)
