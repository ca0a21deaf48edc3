from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.config.resolve import resolve_config
from triptych.data.boards import prepare_board
from triptych.panels.identity import list_ingredients
from triptych.system.paths import cache_home, data_homes, download_home
from triptych.tracking.provenance import TrainingRecord
from triptych.tracking.verification.agreement import compare_ingredients
from triptych.tracking.verification.repeat import empty_cache, find_ingredients, prepare_again
from triptych.training.jobs import list_jobs

MakePhotos = Callable[[Path, dict[str, int]], Path]


def record(folder: Path, panel: str, *settings: str, **ingredients: Any) -> TrainingRecord:
    """Return the record that a training of a panel on a folder would leave now."""
    [config] = resolve_config("photos", data=str(folder), panels=[panel], settings=settings).boards
    job = list_jobs(prepare_board(config))[0]
    taken_over = {"embeddings": [], "number_format": "", "processor": {}, **ingredients}
    return TrainingRecord(config, 0, list_ingredients(job) | taken_over, {})


def name_differences(recorded: TrainingRecord) -> list[str]:
    with empty_cache():
        found = find_ingredients(recorded, prepare_again(recorded))
    return [one.name for one in compare_ingredients(recorded.ingredients, found)]


def test_a_changed_pixel_is_found(make_photos: MakePhotos, tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", {"green": 12, "red": 12})
    recorded = record(folder, "resnet18", "transfer.weights=random")
    assert name_differences(recorded) == []
    file = next(folder.rglob("*.*"))
    pixels = np.asarray(Image.open(file)).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(file.with_suffix(".png"))
    if file.suffix != ".png":
        file.unlink()
    assert "data" in name_differences(recorded)


def test_other_weights_in_the_same_file_are_found(make_photos: MakePhotos, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from torchvision.models import shufflenet_v2_x0_5

    from triptych.transfer.weights import load_backbone

    folder = make_photos(tmp_path / "photos", {"green": 12, "red": 12})
    weights = tmp_path / "weights.safetensors"
    state = shufflenet_v2_x0_5().state_dict()
    save_file(state, weights)
    digest = load_backbone("shufflenet_v2_x0_5", str(weights)).digest()
    recorded = record(folder, "shufflenet_v2_x0_5", f"transfer.weights={weights}", backbone=digest)
    assert name_differences(recorded) == []
    state["conv1.0.weight"] = torch.zeros_like(state["conv1.0.weight"])
    save_file(state, weights)
    assert name_differences(recorded) == ["backbone"]


def test_the_cache_is_empty_but_for_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    (download_home() / "mnist").mkdir(parents=True)
    (tmp_path / "trainings").mkdir()
    with empty_cache():
        scratch = cache_home()
        assert [file.name for file in scratch.iterdir()] == ["data"]
        assert (data_homes()[-1] / "mnist").is_dir()
        (scratch / "splits").mkdir()
    assert os.environ["TRIPTYCH_CACHE_HOME"] == str(tmp_path)
    assert not scratch.exists()
    assert (download_home() / "mnist").is_dir()
