"""What a comparison leaves: report, registered models, champion, predictions; all on a real store."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from flows.compare import compare
from helpers.damages import DAMAGES
from helpers.waiting import ask, free_port, wait_until
from triptych.cli import app
from triptych.config.resolve import resolve_config
from triptych.data.boards import PreparedBoard, load_board, prepare_board
from triptych.errors import ConfigError, InputError
from triptych.evaluation.report import ComparisonResult, EvaluatedPanel
from triptych.tracking.client import connect, list_artifacts
from triptych.tracking.registry.champions import challenge, promote, rollback
from triptych.tracking.registry.weights import pin_weights
from triptych.tracking.tags import PREFIX, read_tags, select
from triptych.transfer.registered import read_origin, registered_folder, write_origin
from triptych.transfer.weights import load_backbone

# Panels that MLflow's own server is started for: one with few requirements, and one with all of them.
SERVED = ("numpy-mlp", "shufflenet_v2_x0_5")


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
    runs = connect().search_runs([connect().get_run(champion.run_id).info.experiment_id], select({"role": "panel"}))
    best = max(runs, key=lambda run: run.data.metrics["final_val_accuracy"])
    assert champion.run_id == best.info.run_id
    assert "there was no champion" in result.promotion
    names = {model.name for model in connect().search_registered_models()}
    assert names == {"digits", *(f"digits-{standing.label}" for standing in result.report.standings)}


def test_rollback_gives_back_what_promotion_took(result: ComparisonResult) -> None:
    del result
    run = CliRunner().invoke
    refused = run(app, ["rollback", "digits"])
    assert "there is no previous one" in str(refused.exception)
    source = connect().get_model_version("digits-numpy-mlp", "1")
    version = mlflow.register_model(source.source, "digits").version
    assert run(app, ["promote", f"digits/{version}"]).exit_code == 0
    assert str(connect().get_model_version_by_alias("digits", "champion").version) == str(version)
    assert run(app, ["rollback", "digits"]).exit_code == 0
    assert str(connect().get_model_version_by_alias("digits", "champion").version) == "1"
    assert "has no version with number '99'" in str(run(app, ["promote", "digits/99"]).exception)


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
import triptych.networks.saved
assert {str(folder)!r} in triptych.networks.saved.__file__, triptych.networks.saved.__file__
np.save({str(tmp_path / "out.npy")!r}, model.predict(np.load({str(tmp_path / "in.npy")!r})))
"""
    board_run = connect().get_model_version("digits-numpy-mlp", "1").run_id
    assert board_run
    arrays = np.load(connect().download_artifacts(board_run, "test_predictions.npz", str(tmp_path)))
    record = resolve_config("digits").boards[0]
    data = load_board(prepare_board(record))
    np.save(tmp_path / "in.npy", np.asarray(data.pixels)[arrays["indices"]])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), arrays["probabilities"].astype(np.float32))


@pytest.fixture(scope="module")
def servers(result: ComparisonResult) -> Iterator[dict[str, str]]:
    """The addresses of MLflow's own model servers, all started at once: they take ten seconds to come up."""
    del result
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    addresses = {panel: f"http://127.0.0.1:{free_port()}" for panel in SERVED}
    processes = []
    for panel, address in addresses.items():
        model = ["-m", f"models:/digits-{panel}/1", "--env-manager", "local", "--workers", "1"]
        where = ["--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
        command = [str(scripts / "mlflow"), "models", "serve", *model, *where]
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
    yield addresses
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()


def load_test_images(panel: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the test images, and the probabilities that the pipeline logged for them."""
    run_id = connect().get_model_version(f"digits-{panel}", "1").run_id
    assert run_id
    with np.load(connect().download_artifacts(run_id, "test_predictions.npz", str(folder))) as arrays:
        indices, probabilities = arrays["indices"], arrays["probabilities"]
    data = load_board(prepare_board(resolve_config("digits").boards[0]))
    return np.asarray(data.pixels)[indices], probabilities


@pytest.mark.parametrize("panel", SERVED)
def test_mlflows_own_server_answers_with_the_pipelines_probabilities(
    servers: dict[str, str], panel: str, tmp_path: Path
) -> None:
    images, probabilities = load_test_images(panel, tmp_path)
    wait_until(lambda: ask(f"{servers[panel]}/ping") == 200, "model server")
    asked = urllib.request.Request(  # noqa: S310 - an address on this machine
        f"{servers[panel]}/invocations",
        json.dumps({"inputs": images.tolist()}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:  # noqa: S310 - the same
        rows = json.load(answer)["predictions"]
    assert [list(row) for row in rows] == [[str(digit) for digit in range(10)]] * len(images)
    np.testing.assert_allclose([list(row.values()) for row in rows], probabilities, rtol=0, atol=1e-6)


def read_panel(result: ComparisonResult, panel: str) -> tuple[PreparedBoard, EvaluatedPanel]:
    version = connect().get_model_version(f"digits-{panel}", "1")
    run = connect().get_run(str(version.run_id))
    assert read_tags(run)["comparison"] == result.comparison
    prepared = prepare_board(resolve_config("digits").boards[0])
    return prepared, EvaluatedPanel(panel, panel, 0, run.info.run_id, dict(run.data.metrics), 0, str(version.source))


def rename(prepared: PreparedBoard, name: str) -> PreparedBoard:
    return replace(prepared, config=prepared.config.model_copy(update={"name": name}))


def test_a_challenger_that_is_not_shown_to_be_better_is_refused_with_its_figures(result: ComparisonResult) -> None:
    board, panel = read_panel(result, "numpy-mlp")
    board = rename(board, "refusals")
    first = challenge(board, panel)
    assert first.state == "new"
    twin = read_panel(result, "torch-mlp")[1]
    refused = challenge(board, twin)
    assert refused.state == "refused"
    assert "points against the champion on 252 validation images" in refused.reason
    assert str(connect().get_model_version_by_alias("refusals", "champion").version) == "1"
    assert read_tags(connect().get_model_version("refusals", "2"))["promotion"] == refused.reason


def test_a_champion_that_version_0_1_0_registered_is_still_one(result: ComparisonResult) -> None:
    board, panel = read_panel(result, "numpy-mlp")
    board = rename(board, "champions-of-0-1-0")
    challenge(board, panel)
    champion = connect().get_model_version(board.config.name, "1")
    for name, value in champion.tags.items():
        connect().delete_model_version_tag(board.config.name, "1", name)
        connect().set_model_version_tag(board.config.name, "1", name.removeprefix(PREFIX), value)
    assert challenge(board, panel).reason.startswith("there was no champion")
    challenger = read_panel(result, "torch-mlp")[1]
    assert "points against the champion" in challenge(board, challenger).reason
    promote(board.config.name, "2")
    assert rollback(board.config.name) == "1"


def test_after_a_champion_was_deleted_the_next_challenger_takes_its_place(result: ComparisonResult) -> None:
    board, panel = read_panel(result, "numpy-mlp")
    board = rename(board, "deletions")
    challenge(board, panel)
    connect().delete_model_version("deletions", "1")
    assert challenge(board, read_panel(result, "torch-mlp")[1]).reason.startswith("there was no champion")
    promote("deletions", str(connect().create_model_version("deletions", panel.model_uri, panel.run_id).version))
    connect().delete_model_version("deletions", "2")
    with pytest.raises(ConfigError, match="the previous champion, was deleted"):
        rollback("deletions")


def test_of_two_that_challenge_at_once_one_becomes_champion(result: ComparisonResult) -> None:
    board, panel = read_panel(result, "numpy-mlp")
    board = rename(board, "races")
    twins = [panel, read_panel(result, "torch-mlp")[1]]
    with ThreadPoolExecutor(2) as pool:
        promotions = list(pool.map(lambda twin: challenge(board, twin), twins))
    assert sorted(promotion.state for promotion in promotions) == ["new", "refused"]
    assert str(connect().get_model_version_by_alias("races", "champion").version) == "1"


def test_a_registered_network_can_be_a_panels_starting_weights(result: ComparisonResult) -> None:
    del result
    settings = ("transfer.weights=models:/digits-shufflenet_v2_x0_5/1", "transfer.epochs=1")
    [board] = resolve_config("digits", panels=["shufflenet_v2_x0_5"], settings=settings).boards
    pinned = pin_weights(board)
    ours = load_backbone("shufflenet_v2_x0_5", pinned.transfer.weights)
    bundled = load_backbone("shufflenet_v2_x0_5", "bundled")
    assert (ours.digest(), ours.preprocessing) == (bundled.digest(), bundled.preprocessing)
    folder = registered_folder(pinned.transfer.weights)
    source = read_origin(folder)
    DAMAGES["flip"](folder / "backbone.safetensors")
    assert pin_weights(board) == pinned
    assert read_origin(folder) == source, "they are downloaded again"
    # As if the store had been deleted and made anew.
    write_origin(folder, "models:/m-of-another-store")
    assert pin_weights(board) == pinned
    assert read_origin(folder) == source
    for weights, done in {
        "models:/digits-numpy-mlp/1": "hold no pretrained network",
        "models:/digits-shufflenet_v2_x0_5@nobody": "has no version with alias 'nobody'",
    }.items():
        wrong = board.model_copy(update={"transfer": board.transfer.model_copy(update={"weights": weights})})
        with pytest.raises(InputError, match=done):
            pin_weights(wrong)


@pytest.mark.usefixtures("prefect_server", "result")
def test_predict_on_a_folder_of_real_photos(data_home: Path, tmp_path: Path) -> None:
    config = resolve_config(
        "photos", data=str(data_home / "hymenoptera"), panels=["numpy-mlp"], settings=["numpy_mlp.epochs=2"]
    )
    compare(config)
    photos = [*sorted((data_home / "hymenoptera" / "val" / "bees").glob("*.jpg"))[:5]]
    for photo in photos:
        shutil.copy(photo, tmp_path)
    (tmp_path / "torn.jpg").write_bytes(photos[0].read_bytes()[:2000])
    done = CliRunner().invoke(app, ["predict", f"{config.boards[0].name}/1", str(tmp_path)])
    assert done.exit_code == 1
    assert "torn.jpg" in done.stderr
    lines = done.stdout.splitlines()
    assert [Path(line.partition(": ")[0]).name for line in lines] == [photo.name for photo in photos]
    assert all(line.partition(": ")[2].split()[0] in {"ants", "bees"} for line in lines)


def test_predict_names_what_it_cannot_read_and_goes_on(result: ComparisonResult, photos: Path) -> None:
    del result
    done = CliRunner().invoke(app, ["predict", "digits", str(photos), "--json", "--top", "2"])
    assert done.exit_code == 1
    assert "torn.png" in done.stderr
    rows = json.loads(done.stdout)
    assert [Path(row["image"]).name for row in rows] == ["0.png", "1.png", "2.png"]
    assert all(len(row["classes"]) == 2 for row in rows)
    assert all(row["classes"][0]["probability"] >= row["classes"][1]["probability"] for row in rows)
    table = CliRunner().invoke(app, ["predict", "digits", str(photos / "0.png"), "--csv"])
    assert table.exit_code == 0
    assert table.stdout.splitlines()[0] == "image,class,probability"
    # Noise is like no digit.
    wary = CliRunner().invoke(app, ["predict", "digits", str(photos / "0.png"), "--csv", "--error-at-most", "30%"])
    assert [line.rpartition(",")[2] for line in wary.stdout.splitlines()] == ["answer", "foreign"]
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
