"""Panels as ONNX models: under ONNX Runtime they give the panels' own probabilities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from triptych.config.trainers import LogisticRegressionConfig, MostFrequentConfig, NearestNeighboursConfig
from triptych.errors import ConfigError, ExportError
from triptych.networks.classifiers.contract import PixelClassifier
from triptych.networks.classifiers.logistic_regression import LogisticRegression
from triptych.networks.classifiers.most_frequent import MostFrequent
from triptych.networks.classifiers.nearest_neighbours import NearestNeighbours
from triptych.networks.initialisation import initialise_layers
from triptych.networks.numpy_mlp import NumpyMLP
from triptych.networks.saved import PixelNetwork, load_model, save_model
from triptych.networks.torch_mlp import TorchMLP
from triptych.panels.onnx_export import export_model

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


# Every kind, activation, loss and number format.
@pytest.mark.parametrize(
    ("kind", "dtype", "activation", "loss"),
    [
        ("numpy_mlp", "float32", "sigmoid", "squared_error"),
        ("torch_mlp", "float64", "tanh", "squared_error"),
        ("torch_mlp", "float64", "relu", "cross_entropy"),
    ],
)
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
    ("kind", "classifier", "settings", "weights"),
    [
        ("most_frequent", MostFrequent, MostFrequentConfig(), None),
        ("logistic_regression", LogisticRegression, LogisticRegressionConfig(), None),
        ("nearest_neighbours", NearestNeighbours, NearestNeighboursConfig(neighbours=3), None),
        ("nearest_neighbours", NearestNeighbours, NearestNeighboursConfig(neighbours=3), np.linspace(0.0, 2.0, 40)),
    ],
)
def test_classifiers_of_pixels_are_repeated(
    kind: str,
    classifier: type[PixelClassifier],
    settings: object,
    weights: NDArray[np.float64] | None,
    tmp_path: Path,
    images: NDArray[np.uint8],
) -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.uniform(-1.0, 1.0, size=(40, 105)).astype(np.float32), np.arange(40) % 4
    fitted = classifier.fit(rows, labels, 4, settings, weights)
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


def test_an_export_that_does_not_repeat_its_panel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_random_mlp("numpy_mlp", tmp_path / "model", activation="tanh", loss="cross_entropy")
    monkeypatch.setattr(PixelNetwork, "predict_images", lambda self, images: np.full((len(images), 4), 0.25))
    with pytest.raises(ExportError, match=r"differs from the panel's by 0\.\d+: at most 1e-05"):
        export_model(tmp_path / "model", tmp_path)
