from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from triptych.images.sources import ArrayImages
from triptych.networks.backbones import Backbone
from triptych.transfer.store import EmbeddingSpace, identify_space, list_indices
from triptych.transfer.weights import load_backbone


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("shufflenet_v2_x0_5", "bundled")


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


@pytest.mark.parametrize(
    ("numbers", "indices"), [(None, range(10)), (range(1, 2), range(4, 8)), (range(1, 3), range(4, 10))]
)
def test_parts_are_as_large_as_files(numbers: range | None, indices: range, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.data.shards.files.IMAGES_PER_SHARD", 4)
    assert list_indices(ArrayImages(np.zeros((10, 8, 8, 1), dtype=np.uint8)), numbers).tolist() == list(indices)


def test_a_space_is_described_to_people(backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    space = EmbeddingSpace.of(backbone)
    space.describe()
    described = json.loads((space.folder / "space.json").read_text(encoding="utf-8"))
    assert described["network"] == "shufflenet_v2_x0_5"
    assert described["weights"] == backbone.digest()
    assert described["weights_as_configured"] == "bundled"
