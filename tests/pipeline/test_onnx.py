"""Panels as ONNX models: under ONNX Runtime they give the pipeline's own probabilities."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from helpers.panels import CLASSES as SMALL_CLASSES
from helpers.panels import build_numpy
from triptych.cli import app
from triptych.data.boards import BoardData
from triptych.errors import ConfigError
from triptych.evaluation.report import ComparisonResult
from triptych.images.preprocessing import Preprocessing
from triptych.networks.head import Head, TransferNetwork
from triptych.networks.light_torch import build_linear
from triptych.networks.saved import save_model
from triptych.panels import onnx_modules
from triptych.panels.onnx_export import export_model
from triptych.tracking.client import connect
from triptych.transfer.weights import load_backbone

TOLERANCE = 1e-5
PANELS = (
    "digits-numpy-mlp",
    "digits-torch-mlp",
    "digits-shufflenet_v2_x0_5",
    "digits-nearest-neighbours",
    "digits-most-frequent",
)
CLASSES = tuple("abcd")


@pytest.fixture(scope="module")
def fetched(result: ComparisonResult, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each panel, fetched as ONNX."""
    del result
    folders = {name: tmp_path_factory.mktemp("onnx") / name for name in PANELS}
    for name, folder in folders.items():
        outcome = CliRunner().invoke(app, ["fetch", f"{name}/1", "--to", str(folder), "--format", "onnx"])
        assert outcome.exit_code == 0, outcome.output
        assert "onnx.json describes the input" in outcome.output
    return folders


def read_contract(folder: Path) -> dict[str, Any]:
    contract: dict[str, Any] = json.loads((folder / "onnx.json").read_text(encoding="utf-8"))
    return contract


def prepare(images: NDArray[np.uint8], contract: dict[str, Any]) -> NDArray[Any]:
    """Return what a stranger would make of raw images who has read `onnx.json` alone; torchvision does it."""
    given = dict(contract["preprocessing"])
    if given.pop("inside"):
        return images
    function = Preprocessing(**given).build()
    return torch.stack([function(image) for image in images]).numpy()


def run(folder: Path, inputs: NDArray[Any], batch: int) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    batches = (inputs[start : start + batch] for start in range(0, len(inputs), batch))
    return np.concatenate([session.run(["probabilities"], {"images": rows})[0] for rows in batches])


@cache
def load_test_part(name: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
    run_id = connect().get_model_version(name, "1").run_id
    assert run_id
    with np.load(connect().download_artifacts(run_id, "test_predictions.npz")) as arrays:
        return arrays["indices"], arrays["probabilities"]


@pytest.mark.parametrize("batch", [7, 540])
@pytest.mark.parametrize("name", PANELS)
def test_every_panel_repeats_the_pipelines_test_probabilities(
    fetched: dict[str, Path], digits: BoardData, name: str, batch: int
) -> None:
    indices, expected = load_test_part(name)
    contract = read_contract(fetched[name])
    inputs = prepare(digits.pixels[indices], contract)
    assert list(inputs.shape[1:]) == contract["input"]["shape"][1:]
    assert inputs.dtype == contract["input"]["dtype"]
    assert len(indices) == 540
    np.testing.assert_allclose(run(fetched[name], inputs, batch), expected, rtol=0, atol=TOLERANCE)


def test_checksums_card_and_contract_say_what_was_fetched(fetched: dict[str, Path]) -> None:
    for name, folder in fetched.items():
        lines = (folder / "SHA256SUMS").read_text().splitlines()
        sums = {file: digest for digest, file in (line.split("  ") for line in lines)}
        assert sums == {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in folder.iterdir()
            if file.name != "SHA256SUMS"
        }
        assert set(sums) == {"MODEL_CARD.md", "model.onnx", "onnx.json"}
        contract = read_contract(folder)
        card = (folder / "MODEL_CARD.md").read_text()
        assert contract["input"]["description"] in card.partition("## ONNX")[2]
        assert "## Results on 540 test images" in card
        assert contract["classes"] == list("0123456789")
        assert contract["checked"]["largest_difference"] <= TOLERANCE
        assert contract["number_format"] == {"logged": "float32", "exported": "float32"}, name
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        for part, [found] in (("input", session.get_inputs()), ("output", session.get_outputs())):
            assert [contract[part][key] for key in ("name", "shape")] == [found.name, found.shape]


def test_an_unknown_format_is_refused_before_anything_is_downloaded(result: ComparisonResult, tmp_path: Path) -> None:
    del result
    folder = tmp_path / "model"
    outcome = CliRunner().invoke(app, ["fetch", PANELS[0], "--to", str(folder), "--format", "onxx"])
    assert isinstance(outcome.exception, ConfigError)
    assert str(outcome.exception) == "--format 'onxx' is not allowed: use mlflow or onnx; did you mean 'onnx'?"
    assert not folder.exists()


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == package:
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
package, packages, sys.argv = "", sys.argv[1].split(","), ["triptych", *sys.argv[2:]]
from triptych.cli import run
for package in packages:
    print(package, run())
"""


@pytest.mark.usefixtures("own_store")
def test_a_missing_extra_is_one_line_and_exit_code_two(tmp_path: Path) -> None:
    packages = ["onnx", "onnxruntime", "onnxscript"]
    arguments = [",".join(packages), "fetch", "digits", "--to", str(tmp_path / "model"), "--format", "onnx"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split("\n")[:-1] == [f"{package} 2" for package in packages]
    assert done.stderr.split("\n")[:-1] == [
        f"triptych: --format onnx needs {package}: install it with `pip install 'triptych[onnx]'`"
        for package in packages
    ]


def save_bundled(folder: Path, number_format: str) -> TransferNetwork:
    backbone = load_backbone("shufflenet_v2_x0_5", "bundled").in_format(number_format)
    linear = build_linear(backbone.dimension, len(CLASSES), np.random.default_rng(0))
    linear.weight.data *= 20.0  # far apart, so that rounding is seen in the probabilities
    network = TransferNetwork(backbone, Head(linear))
    save_model("transfer", network, CLASSES, folder)
    return network


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


def test_large_weights_lie_in_a_file_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_modules, "LARGEST_FILE_BYTES", 1000)
    save_model("numpy_mlp", build_numpy(np.random.default_rng(0)), SMALL_CLASSES, tmp_path / "model")
    export_model(tmp_path / "model", tmp_path)
    names = {file.name for file in tmp_path.iterdir() if file.is_file()}
    assert names == {"model.onnx", "model.onnx.data", "onnx.json"}
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in names:
        (tmp_path / name).rename(moved / name)
    given = read_contract(moved)["input"]
    assert run(moved, np.zeros((2, *given["shape"][1:]), given["dtype"]), 2).shape == (2, 3)
