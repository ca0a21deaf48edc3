"""One contract for every kind of panel on disk."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from helpers.damages import DAMAGES
from helpers.panels import BUILDERS, CLASSES, SHAPE, build_numpy, build_torch
from triptych.errors import DamagedFileError
from triptych.images.pixels import scale_pixels, stack_as
from triptych.networks.checksums import write_checksums
from triptych.networks.initialisation import initialise_layers
from triptych.networks.numpy_mlp import NumpyMLP
from triptych.networks.saved import PixelNetwork, copy_package, load_model, save_model
from triptych.panels.kinds import KINDS

MODELS_OF_0_1 = Path(__file__).parents[2] / "data" / "models-0.1.0"


def test_every_kind_is_built_here() -> None:
    assert set(BUILDERS) == set(KINDS) - {"fine_tuned"}, "a fine-tuned network is a transfer network"


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(5, 20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", BUILDERS)
def test_saving_and_loading_changes_nothing(kind: str, tmp_path: Path, images: np.ndarray) -> None:
    network = BUILDERS[kind](np.random.default_rng(1))
    save_model(kind, network, CLASSES, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    probabilities = loaded.predict(images)
    np.testing.assert_array_equal(probabilities, np.asarray(network.predict_images(images), dtype=np.float32))
    assert tuple(probabilities) == CLASSES
    assert probabilities.shape == (5, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved model of a kind without and of one with PyTorch."""
    folder = tmp_path_factory.mktemp("saved")
    for kind in ("numpy_mlp", "transfer"):
        save_model(kind, BUILDERS[kind](np.random.default_rng(1)), CLASSES, folder / kind)
    return {kind: folder / kind for kind in ("numpy_mlp", "transfer")}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("numpy_mlp", "model.json"),
        ("numpy_mlp", "weights.npz"),
        ("transfer", "backbone.safetensors"),
        ("transfer", "head.safetensors"),
        ("transfer", "SHA256SUMS"),
    ],
)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_refused(kind: str, name: str, damage: str, saved: dict[str, Path], tmp_path: Path) -> None:
    model = shutil.copytree(saved[kind], tmp_path / "model")
    DAMAGES[damage](model / name)
    with pytest.raises(DamagedFileError, match=r"^.+ is damaged \(.+\): fetch or train the model again$"):
        load_model(model)


def test_a_model_without_its_checksums_is_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    model = shutil.copytree(saved["numpy_mlp"], tmp_path / "model")
    (model / "SHA256SUMS").unlink()
    with pytest.raises(DamagedFileError, match=r"SHA256SUMS is damaged \(it is missing\)"):
        load_model(model)


def test_a_model_of_a_newer_version_is_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    model = shutil.copytree(saved["numpy_mlp"], tmp_path / "model")
    description = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps(description | {"format": 99}))
    write_checksums(model)
    with pytest.raises(DamagedFileError, match=r"format 99, but at most 2 is known\): load it with a newer version"):
        load_model(model)


def test_the_code_that_travels_with_a_model_is_checked(saved: dict[str, Path], tmp_path: Path) -> None:
    package = copy_package(tmp_path)
    load = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from triptych.networks.saved import load_model; "
    command = [sys.executable, "-c", f"{load} load_model(__import__('pathlib').Path({str(saved['numpy_mlp'])!r}))"]
    subprocess.run(command, check=True, cwd=tmp_path)
    DAMAGES["flip"](package / "networks" / "precision.py")
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert "precision.py is damaged (its SHA-256 is not that in SHA256SUMS)" in done.stderr.splitlines()[-1]


# It had no checksum of the description, of which a bit may be flipped.
@pytest.mark.parametrize(
    ("name", "damage"),
    [("weights.npz", damage) for damage in DAMAGES]
    + [("model.json", damage) for damage in DAMAGES if damage != "flip"],
)
def test_a_damaged_model_of_version_0_1_is_refused(name: str, damage: str, tmp_path: Path) -> None:
    model = shutil.copytree(MODELS_OF_0_1 / "numpy-mlp" / "data" / "model", tmp_path / "model")
    DAMAGES[damage](model / name)
    with pytest.raises(DamagedFileError, match="fetch or train the model again"):
        load_model(model)


@pytest.mark.parametrize("build", [build_numpy, build_torch])
def test_cross_entropy_networks_keep_their_softmax(
    build: Callable[..., PixelNetwork], tmp_path: Path, images: np.ndarray
) -> None:
    network = build(np.random.default_rng(1), loss="cross_entropy")
    kind = "numpy_mlp" if build is build_numpy else "torch_mlp"
    save_model(kind, network, CLASSES, tmp_path / "model")
    np.testing.assert_array_equal(load_model(tmp_path / "model").predict(images), network.predict_images(images))


def test_float64_networks_see_float64_pixels(tmp_path: Path, images: np.ndarray) -> None:
    layers = initialise_layers((192, 6, 3), "normal", "float64", np.random.default_rng(0))
    network = NumpyMLP(layers)
    save_model("numpy_mlp", PixelNetwork(network, SHAPE), CLASSES, tmp_path / "model")
    expected = network.predict_proba(scale_pixels(stack_as(images, SHAPE), "float64"))
    loaded = load_model(tmp_path / "model").network.predict_images(images)
    np.testing.assert_array_equal(loaded, expected)


@pytest.mark.parametrize("build", [build_numpy, build_torch])
def test_a_model_may_be_asked_by_several_threads_at_once(build: Callable[..., PixelNetwork]) -> None:
    network = build(np.random.default_rng(1))
    rng = np.random.default_rng(2)
    # Large enough that threads take turns within one call.
    batches = [rng.integers(0, 256, size=(3000, *SHAPE), dtype=np.uint8) for _ in range(24)]
    alone = [network.predict_images(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(network.predict_images, batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("kind", BUILDERS)
def test_gray_images_and_images_of_other_sizes_are_taken(kind: str, images: np.ndarray) -> None:
    network = BUILDERS[kind](np.random.default_rng(1))
    mixed = [images[0], images[1, :10, :10], images[2, :, :, :1]]
    assert network.predict_images(mixed).shape == (3, 3)


@pytest.mark.parametrize("kind", BUILDERS)
def test_nothing_on_disk_is_a_pickle(kind: str, tmp_path: Path) -> None:
    save_model(kind, BUILDERS[kind](np.random.default_rng(1)), CLASSES, tmp_path / "model")
    names = {file.name for file in (tmp_path / "model").iterdir()}
    assert {Path(name).suffix for name in names - {"SHA256SUMS"}} <= {".json", ".npz", ".safetensors"}


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "triptych.networks_of_others:X",
        "triptych.networks.nope:X",
        "triptych.networks.saved:Nope",
        "triptych.networks.saved:shutil.rmtree",
        "triptych.networks.torch_mlp:torch",
        "triptych.networks.saved",
    ],
)
def test_a_changed_description_loads_nothing_but_classes_of_this_package(name: str, tmp_path: Path) -> None:
    save_model("most_frequent", BUILDERS["most_frequent"](np.random.default_rng(0)), CLASSES, tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    file.write_text(file.read_text().replace("triptych.networks.classifiers.most_frequent:MostFrequent", name))
    write_checksums(tmp_path / "model")
    with pytest.raises(ValueError, match=rf"names the class '{re.escape(name)}', which is not one of"):
        load_model(tmp_path / "model")
