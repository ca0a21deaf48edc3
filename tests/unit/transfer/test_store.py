from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from triptych.images.sources import ArrayImages
from triptych.networks.backbones import Backbone
from triptych.transfer import records
from triptych.transfer.shards import write_shard
from triptych.transfer.store import EmbeddingSpace, identify_space, list_shards
from triptych.transfer.weights import load_backbone


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("shufflenet_v2_x0_5", "bundled")


@pytest.fixture
def space(backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddingSpace:
    """A space in an empty store, of four images in a shard."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(records, "IMAGES_PER_SHARD", 4)
    return EmbeddingSpace.of(backbone)


def draw_images(seed: int = 0) -> ArrayImages:
    return ArrayImages(np.random.default_rng(seed).integers(0, 256, size=(10, 8, 8, 1), dtype=np.uint8))


def test_a_space_is_named_by_everything_that_embeddings_depend_on(backbone: Backbone) -> None:
    others = [
        backbone,
        replace(backbone, preprocessing=replace(backbone.preprocessing, crop_size=24)),
        backbone.in_format("float32-folded"),
        replace(backbone, cut_layer="another"),
    ]
    names = {identify_space(other, "a digest") for other in others} | {identify_space(backbone, "another digest")}
    assert len(names) == 5
    assert all(name.startswith("shufflenet_v2_x0_5-") for name in names)
    assert identify_space(replace(backbone, weights="a path"), "a digest") in names, "the digest is that of the weights"


def test_shards_are_named_by_their_images(space: EmbeddingSpace) -> None:
    shards = list_shards([space], draw_images())
    assert [shard.indices for shard in shards] == [range(4), range(4, 8), range(8, 10)]
    changed = draw_images()
    changed.array[5] += 1
    again = list_shards([space], changed)
    assert [one.file == other.file for one, other in zip(shards, again, strict=True)] == [True, False, True]
    assert [shard.file for shard in list_shards([space], draw_images(), range(1, 2))] == [shards[1].file]


def test_only_a_sound_shard_is_verified(space: EmbeddingSpace) -> None:
    shard = list_shards([space], draw_images())[2]
    assert not space.verify(shard)
    write_shard(shard.file, np.zeros((2, space.backbone.dimension), dtype=np.float32))
    assert space.verify(shard)
    assert space.damaged == []
    content = shard.file.read_bytes()
    shard.file.write_bytes(content[:-1])
    assert not space.verify(shard)
    assert not space.verify(shard)
    assert space.damaged == [shard.file]


def test_a_space_is_described_to_people(space: EmbeddingSpace) -> None:
    space.describe()
    described = json.loads((space.folder / "space.json").read_text(encoding="utf-8"))
    assert described["network"] == "shufflenet_v2_x0_5"
    assert described["weights"] == space.backbone.digest()
    assert described["weights_as_configured"] == "bundled"
