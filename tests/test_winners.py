"""What a comparison leaves: report, registered models, champion, predictions; all on a real store."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from flows.compare import compare
from triptych.boards import load_board, prepare_board
from triptych.cli import app
from triptych.config import resolve_config
from triptych.predictions import Predictions
from triptych.promotion import judge
from triptych.report import ComparisonResult
from triptych.tracking import connect, list_artifacts

LEVEL = 0.95
SETTINGS = ("numpy_mlp.epochs=3", "torch_mlp.epochs=3", "transfer.epochs=3")


@pytest.fixture(scope="module")
def result(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComparisonResult]:
    del prefect_server
    folder = tmp_path_factory.mktemp("winners")
    patch = pytest.MonkeyPatch()
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    patch.setenv("TRIPTYCH_CACHE_HOME", str(folder / "cache"))
    yield compare(resolve_config("digits", settings=SETTINGS))[0]
    patch.undo()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{number}.png")
    (folder / "torn.png").write_bytes(b"\x89PNG no more")
    return folder


def fetch(name: str, folder: Path) -> Path:
    outcome = CliRunner().invoke(app, ["fetch", name, "--to", str(folder)])
    assert outcome.exit_code == 0, outcome.output
    return folder


def test_the_first_champion_is_the_best_on_validation(result: ComparisonResult) -> None:
    champion = connect().get_model_version_by_alias("digits", "champion")
    assert champion.run_id
    runs = connect().search_runs([connect().get_run(champion.run_id).info.experiment_id], "tags.role = 'panel'")
    best = max(runs, key=lambda run: run.data.metrics["final_val_accuracy"])
    assert champion.run_id == best.info.run_id
    assert "there was no champion" in result.promotion
    names = {model.name for model in connect().search_registered_models()}
    assert names == {"digits", "digits-numpy-mlp", "digits-torch-mlp", "digits-shufflenet_v2_x0_5"}


@pytest.mark.slow
def test_rollback_gives_back_what_promotion_took(result: ComparisonResult) -> None:
    del result
    run = CliRunner().invoke
    refused = run(app, ["rollback", "digits"])
    assert "there is none to go back to" in str(refused.exception)
    source = connect().get_model_version("digits-numpy-mlp", "1")
    version = mlflow.register_model(source.source, "digits").version
    assert run(app, ["promote", f"digits/{version}"]).exit_code == 0
    assert str(connect().get_model_version_by_alias("digits", "champion").version) == str(version)
    assert run(app, ["rollback", "digits"]).exit_code == 0
    assert str(connect().get_model_version_by_alias("digits", "champion").version) == "1"
    assert "no version 99" in str(run(app, ["promote", "digits/99"]).exception)


@pytest.mark.slow
def test_a_fetched_model_by_hand_needs_neither_torch_nor_this_package(result: ComparisonResult, tmp_path: Path) -> None:
    del result
    folder = fetch("digits-numpy-mlp/1", tmp_path / "model")
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert "## Results on 540 test images" in (folder / "MODEL_CARD.md").read_text()
    code = f"""
import sys, importlib.abc, importlib.machinery
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'torchvision', 'safetensors', 'sklearn'):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import mlflow, numpy as np
model = mlflow.pyfunc.load_model({str(folder)!r})
import triptych.served
assert {str(folder)!r} in triptych.served.__file__, triptych.served.__file__
np.save({str(tmp_path / "out.npy")!r}, model.predict(np.load({str(tmp_path / "in.npy")!r})))
"""
    board_run = connect().get_model_version("digits-numpy-mlp", "1").run_id
    assert board_run
    arrays = np.load(connect().download_artifacts(board_run, "test_predictions.npz", str(tmp_path)))
    record = resolve_config("digits").boards[0]
    board = load_board(prepare_board(record))
    np.save(tmp_path / "in.npy", np.asarray(board.pixels)[arrays["indices"]])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), arrays["probabilities"].astype(np.float32))


def test_predict_names_what_it_cannot_read_and_goes_on(result: ComparisonResult, photos: Path) -> None:
    del result
    told = CliRunner().invoke(app, ["predict", "digits", str(photos), "--json", "--top", "2"])
    assert told.exit_code == 1
    assert "torn.png" in told.stderr
    rows = json.loads(told.stdout)
    assert [Path(row["image"]).name for row in rows] == ["0.png", "1.png", "2.png"]
    assert all(len(row["classes"]) == 2 for row in rows)
    assert all(row["classes"][0]["probability"] >= row["classes"][1]["probability"] for row in rows)
    table = CliRunner().invoke(app, ["predict", "digits", str(photos / "0.png"), "--csv"])
    assert table.exit_code == 0
    assert table.stdout.splitlines()[0] == "image,class,probability"
    assert "no registered model" in str(CliRunner().invoke(app, ["predict", "nobody", str(photos)]).exception)


def test_no_artifact_is_a_pickle(result: ComparisonResult) -> None:
    del result
    experiment = connect().get_experiment_by_name("digits")
    assert experiment is not None
    root = Path(experiment.artifact_location.removeprefix("file://"))
    files = [file for file in root.rglob("*") if file.is_file()]
    assert any(file.suffix == ".safetensors" for file in files)
    assert any(file.suffix == ".npz" for file in files)
    for file in files:
        assert file.suffix not in {".pkl", ".pickle", ".pt", ".pth", ".joblib"}, file
        assert file.read_bytes()[:2] not in {bytes([0x80, protocol]) for protocol in range(2, 6)}, file
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                assert {name: arrays[name].dtype for name in arrays}
    for run in connect().search_runs([experiment.experiment_id]):
        assert list_artifacts(run.info.run_id)


def predictions(correct: np.ndarray) -> Predictions:
    probabilities = np.where(correct[:, None], [[1.0, 0.0]], [[0.0, 1.0]])
    return Predictions(np.arange(len(correct)), np.zeros(len(correct), dtype=np.int64), probabilities)


def test_false_promotions_stay_below_the_level() -> None:
    rng = np.random.default_rng(0)
    simulations, images, promoted = 1000, 150, 0
    for _ in range(simulations):
        accuracy = rng.uniform(0.6, 0.98)
        first, second = rng.random((2, images)) < accuracy
        promoted += judge(predictions(first), predictions(second), LEVEL).promoted
    # A challenger that is no better: at most half of 5 %, and three standard errors of the simulation.
    allowed = (1.0 - LEVEL) / 2.0
    assert promoted / simulations <= allowed + 3.0 * np.sqrt(allowed * (1.0 - allowed) / simulations)


def test_a_better_challenger_is_promoted_and_other_images_are_never_compared() -> None:
    better, worse = np.ones(100, dtype=bool), np.arange(100) >= 20
    assert judge(predictions(better), predictions(worse), LEVEL).promoted
    assert not judge(predictions(worse), predictions(better), LEVEL).promoted
    assert "other images" in judge(predictions(better), predictions(worse[:90]), LEVEL).reason
