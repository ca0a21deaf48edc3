from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from triptych.errors import WeightsError
from triptych.images.preprocessing import Preprocessing
from triptych.transfer.registered import load_registered_weights, registered_folder

WEIGHTS = "models:/digits-resnet50/3"
SMALL = Preprocessing(40, 32, (0.5,) * 3, (0.25,) * 3, "bilinear")


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))


def test_weights_and_their_preprocessing_are_read_from_the_cache() -> None:
    from safetensors.numpy import save_file

    folder = registered_folder(WEIGHTS)
    folder.mkdir(parents=True)
    description = {"backbone": "resnet50", "preprocessing": SMALL.as_json()}
    (folder / "model.json").write_text(json.dumps(description), encoding="utf-8")
    save_file({"conv.weight": np.ones((2, 3), dtype=np.float32)}, folder / "backbone.safetensors")
    state, preprocessing = load_registered_weights("resnet50", WEIGHTS)
    assert preprocessing == SMALL
    assert state["conv.weight"].shape == (2, 3)
    with pytest.raises(WeightsError, match="belong to resnet50, not to vgg16: choose others"):
        load_registered_weights("vgg16", WEIGHTS)


def test_missing_files_are_named() -> None:
    with pytest.raises(WeightsError, match=r"are not in .*digits-resnet50/3: run `triptych compare` with them"):
        load_registered_weights("resnet50", WEIGHTS)
