from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.damages import DAMAGES
from triptych.errors import DamagedFileError, WeightsError
from triptych.images.preprocessing import Preprocessing
from triptych.transfer.registered import (
    FILES,
    ORIGIN,
    load_registered_weights,
    read_origin,
    registered_folder,
    write_origin,
)

WEIGHTS = "models:/digits-resnet50/3"
SMALL = Preprocessing(40, 32, (0.5,) * 3, (0.25,) * 3, "bilinear")


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))


@pytest.fixture
def folder() -> Path:
    """The folder of weights as they are after their download."""
    from safetensors.numpy import save_file

    folder = registered_folder(WEIGHTS)
    folder.mkdir(parents=True)
    description = {"backbone": "resnet50", "preprocessing": SMALL.as_json()}
    (folder / "model.json").write_text(json.dumps(description), encoding="utf-8")
    save_file({"conv.weight": np.ones((2, 3), dtype=np.float32)}, folder / "backbone.safetensors")
    write_origin(folder, "models:/m-1")
    return folder


@pytest.mark.usefixtures("folder")
def test_weights_and_their_preprocessing_are_read_from_the_cache() -> None:
    state, preprocessing = load_registered_weights("resnet50", WEIGHTS)
    assert preprocessing == SMALL
    assert state["conv.weight"].shape == (2, 3)
    with pytest.raises(WeightsError, match="belong to resnet50, not to vgg16: choose others"):
        load_registered_weights("vgg16", WEIGHTS)


@pytest.mark.parametrize("name", [*FILES, ORIGIN])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_named(name: str, damage: str, folder: Path) -> None:
    assert read_origin(folder) == "models:/m-1"
    DAMAGES[damage](folder / name)
    with pytest.raises(DamagedFileError, match=rf"{name} is damaged"):
        load_registered_weights("resnet50", WEIGHTS)


def test_each_store_has_a_folder_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://another-server:5000")
    assert registered_folder(WEIGHTS) != folder
    assert registered_folder(WEIGHTS).parts[-2:] == folder.parts[-2:]


def test_missing_files_are_named() -> None:
    with pytest.raises(WeightsError, match=r"are not in .*digits-resnet50/3: run `triptych compare` with them"):
        load_registered_weights("resnet50", WEIGHTS)
