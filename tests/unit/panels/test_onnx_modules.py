"""Panels as ONNX models: under ONNX Runtime they give the panels' own probabilities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from triptych.config.trainers import LogisticRegressionConfig, MostFrequentConfig, NearestNeighboursConfig
from triptych.data.boards import BoardData
from triptych.errors import ConfigError, ExportError
from triptych.images.preprocessing import Preprocessing
from triptych.networks.classifiers.contract import PixelClassifier
from triptych.networks.classifiers.logistic_regression import LogisticRegression
from triptych.networks.classifiers.most_frequent import MostFrequent
from triptych.networks.classifiers.nearest_neighbours import NearestNeighbours
from triptych.networks.head import Head, TransferNetwork
from triptych.networks.initialisation import initialise_layers
from triptych.networks.light_torch import build_linear
from triptych.networks.numpy_mlp import NumpyMLP
from triptych.networks.saved import PixelNetwork, load_model, save_model
from triptych.networks.torch_mlp import TorchMLP
from triptych.panels import onnx_modules
from triptych.panels.onnx_export import export_model
from triptych.transfer.weights import load_backbone

TOLERANCE = 1e-5
SHAPE = (5, 7, 3)
CLASSES = tuple("abcd")
NETWORKS: dict[str, Any] = {"numpy_mlp": NumpyMLP, "torch_mlp": TorchMLP}


def read_contract(folder: Path) -> dict[str, Any]:
    contract: dict[str, Any] = json.loads((folder / "onnx.json").read_text(encoding="utf-8"))
    return contract


def run(folder: Path, inputs: NDArray[Any], batch: int) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    batches = (inputs[start : start + batch] for start in range(0, len(inputs), batch))
    return np.concatenate([session.run(["probabilities"], {"images": rows})[0] for rows in batches])


def save_random_mlp(kind: str, folder: Path, *, dtype: str = "float32", scale: float = 1.0, **names: str) -> None:
    layers = initialise_layers((105, 9, 6, 4), "he_normal", dtype, np.random.default_rng(3))
    layers = [(weight * np.dtype(dtype).type(scale), bias) for weight, bias in layers]
    save_model(kind, PixelNetwork(NETWORKS[kind](layers, **names), SHAPE, "unit"), CLASSES, folder)


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, size=(7, *SHAPE), dtype=np.uint8)


# Every activation, loss and number format, and every two of them that meet in the export.
@pytest.mark.parametrize(
    ("dtype", "activation", "loss"),
    [
        ("float32", "sigmoid", "squared_error"),
        ("float64", "tanh", "squared_error"),
        ("float64", "relu", "cross_entropy"),
        ("float32", "tanh", "cross_entropy"),
    ],
)
@pytest.mark.parametrize("kind", NETWORKS)
def test_each_kind_of_mlp_is_repeated(
    tmp_path: Path, images: NDArray[np.uint8], kind: str, dtype: str, activation: str, loss: str
) -> None:
    save_random_mlp(kind, tmp_path / "model", dtype=dtype, activation=activation, loss=loss)
    card = export_model(tmp_path / "model", tmp_path)
    expected = load_model(tmp_path / "model").predict(images)
    np.testing.assert_allclose(run(tmp_path, images, 7), expected, rtol=0, atol=TOLERANCE)
    assert f"panel's in {dtype}" in card
    constants = onnx.load(tmp_path / "model.onnx").graph.initializer
    floats = {onnx.helper.tensor_dtype_to_np_dtype(one.data_type) for one in constants} - {np.dtype(np.int64)}
    assert floats == {np.dtype(dtype)}


@pytest.mark.parametrize("kind", NETWORKS)
def test_outputs_that_all_vanish_are_normalised_as_the_panel_does(
    kind: str, tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    save_random_mlp(kind, tmp_path / "model", scale=1e4, activation="relu", loss="squared_error")
    export_model(tmp_path / "model", tmp_path)
    dark = np.concatenate([images, np.zeros((1, *SHAPE), dtype=np.uint8)])
    expected = load_model(tmp_path / "model").predict(dark)
    np.testing.assert_allclose(run(tmp_path, dark, 3), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("kind", "classifier", "settings"),
    [
        ("most_frequent", MostFrequent, MostFrequentConfig()),
        ("logistic_regression", LogisticRegression, LogisticRegressionConfig()),
        ("nearest_neighbours", NearestNeighbours, NearestNeighboursConfig(neighbours=3)),
    ],
)
def test_classifiers_of_pixels_are_repeated(
    kind: str, classifier: type[PixelClassifier], settings: object, tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.uniform(-1.0, 1.0, size=(40, 105)).astype(np.float32), np.arange(40) % 4
    fitted = classifier.fit(rows, labels, 4, settings)
    save_model(kind, PixelNetwork(fitted, SHAPE), CLASSES, tmp_path / "model")
    export_model(tmp_path / "model", tmp_path)
    expected = load_model(tmp_path / "model").predict(images)
    np.testing.assert_allclose(run(tmp_path, images, 3), expected, rtol=0, atol=TOLERANCE)


def test_votes_by_distance_have_no_exporter(tmp_path: Path) -> None:
    rows, labels = np.eye(4, 105, dtype=np.float32), np.arange(4)
    fitted = NearestNeighbours(rows, labels, neighbours=2, vote="distance", classes=4)
    save_model("nearest_neighbours", PixelNetwork(fitted, SHAPE), CLASSES, tmp_path / "model")
    with pytest.raises(ConfigError, match=r"vote = distance .* --format mlflow"):
        export_model(tmp_path / "model", tmp_path)


def save_bundled(folder: Path, number_format: str) -> TransferNetwork:
    backbone = load_backbone("shufflenet_v2_x0_5", "bundled").in_format(number_format)
    linear = build_linear(backbone.dimension, len(CLASSES), np.random.default_rng(0))
    linear.weight.data *= 20.0  # far apart, so that rounding is seen in the probabilities
    network = TransferNetwork(backbone, Head(linear))
    save_model("transfer", network, CLASSES, folder)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("number_format", ["float32-folded", "bfloat16-folded"])
def test_other_number_formats_are_exported_in_float32_and_said_to_be(
    tmp_path: Path, digits: BoardData, number_format: str
) -> None:
    network = save_bundled(tmp_path / "model", number_format)
    card = export_model(tmp_path / "model", tmp_path)
    contract = read_contract(tmp_path)
    exact = TransferNetwork(network.backbone.in_format("float32"), network.head)
    pixels = digits.pixels[:40]
    function = Preprocessing.from_json(contract["preprocessing"]).build()
    found = run(tmp_path, torch.stack([function(image) for image in pixels]).numpy(), 7)
    np.testing.assert_allclose(found, exact.predict_images(pixels), rtol=0, atol=TOLERANCE)
    formats = contract["number_format"]
    assert (formats["logged"], formats["exported"]) == (number_format, "float32")
    assert f"computes in {number_format}" in card
    rounding = number_format.startswith("float32")
    assert (formats["logged_differs_from_exported_by"] <= TOLERANCE) == rounding
    assert bool(np.abs(found - network.predict_images(pixels)).max() <= TOLERANCE) == rounding


def test_an_export_that_does_not_repeat_its_panel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_random_mlp("numpy_mlp", tmp_path / "model", activation="tanh", loss="cross_entropy")
    monkeypatch.setattr(PixelNetwork, "predict_images", lambda self, images: np.full((len(images), 4), 0.25))
    with pytest.raises(ExportError, match=r"differs from the panel's by 0\.\d+: at most 1e-05"):
        export_model(tmp_path / "model", tmp_path)


def test_large_weights_lie_in_a_file_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_modules, "LARGEST_FILE_BYTES", 1000)
    network = save_bundled(tmp_path / "model", "float32")
    export_model(tmp_path / "model", tmp_path)
    names = {file.name for file in tmp_path.iterdir() if file.is_file()}
    assert names == {"model.onnx", "model.onnx.data", "onnx.json"}
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in names:
        (tmp_path / name).rename(moved / name)
    side = network.backbone.preprocessing.crop_size
    assert run(moved, np.zeros((2, 3, side, side), dtype=np.float32), 2).shape == (2, 4)
