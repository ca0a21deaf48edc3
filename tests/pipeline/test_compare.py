"""The whole pipeline: real Prefect server, real MLflow on sqlite, real image files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from typer.testing import CliRunner

from flows.compare import compare
from triptych.cli import app
from triptych.config.resolve import Config, resolve_config
from triptych.config.schema import BoardConfig, DataConfig
from triptych.data.boards import load_board, prepare_board
from triptych.errors import DataError, IncompleteError, ReloadError, WeightsError
from triptych.evaluation.columns import COLUMNS, Table
from triptych.evaluation.evaluator import check_reload
from triptych.evaluation.report import RANKINGS, ComparisonResult
from triptych.panels.answers.amount import embed_panels
from triptych.panels.reference import ReferencePredictions
from triptych.tracking.artifacts import load_evaluation, load_logged_model
from triptych.tracking.client import connect, list_artifacts
from triptych.tracking.queries import find_panel_runs, find_recorded
from triptych.tracking.registry.versions import find_champion
from triptych.tracking.tags import read_tags, select


@pytest.fixture(scope="module")
def photos_config(photos: Path) -> Config:
    """Every kind of panel on one board, two repeats each."""
    return resolve_config(
        "photos",
        data=str(photos),
        panels=["numpy-mlp", "torch-mlp", "shufflenet_v2_x0_5"],
        settings=[
            *("name=photos-colours", "transfer.weights=bundled"),
            *("transfer.epochs=8", "numpy_mlp.epochs=5", "torch_mlp.epochs=5"),
        ],
    )


@pytest.fixture(scope="module")
def result(prefect_server: None, photos_config: Config) -> ComparisonResult:
    del prefect_server
    [compared] = compare(photos_config)
    return compared


@pytest.fixture(scope="module")
def runs(result: ComparisonResult) -> list[Any]:
    experiment = connect().get_experiment_by_name("photos-colours")
    assert experiment is not None
    return find_panel_runs(experiment.experiment_id, result.comparison)


def test_every_panel_and_repeat_has_its_run(runs: list[Any]) -> None:
    trained = {(read_tags(run)["panel"], read_tags(run)["repeat"]) for run in runs}
    assert trained == {(panel, r) for panel in ("numpy-mlp", "torch-mlp", "shufflenet_v2_x0_5") for r in "01"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert not any("mlflow.parentRunId" in read_tags(run) for run in runs)


def test_epochs_are_steps_from_one_without_gaps(runs: list[Any], photos_config: Config) -> None:
    board = photos_config.boards[0]
    epochs = {"numpy-mlp": board.numpy_mlp.epochs, "torch-mlp": board.torch_mlp.epochs, "shufflenet_v2_x0_5": 8}
    for run in runs:
        for name in ("train_loss", "val_loss", "val_log_loss", "train_accuracy", "val_accuracy", "epoch_seconds"):
            steps = [point.step for point in connect().get_metric_history(run.info.run_id, name)]
            assert steps == list(range(1, epochs[read_tags(run)["panel"]] + 1))


def test_final_metrics_have_the_same_names_for_every_panel(runs: list[Any]) -> None:
    final = {
        *("test_accuracy", "test_macro_f1", "test_log_loss", "test_ece", "fit_seconds"),
        *("predict_images_per_second", "parameters", "model_mebibytes"),
    }
    assert all(final <= set(run.data.metrics) for run in runs)


def test_what_the_machine_did_is_no_result_of_a_panel(runs: list[Any]) -> None:
    run_id = runs[0].info.run_id
    before = load_evaluation(run_id)
    # MLflow samples every few seconds: of two repeats, the longer may have these and the shorter none.
    connect().log_metric(run_id, "system/cpu_utilization_percentage", 50.0)
    assert load_evaluation(run_id) == before
    assert before is not None
    assert "test_accuracy" in before


def test_parameters_are_every_field_of_the_configuration(runs: list[Any], photos_config: Config) -> None:
    expected = {key: str(value) for key, value in photos_config.boards[0].flat().items()}
    assert all(run.data.params == expected for run in runs)


def test_tags_tell_where_a_figure_comes_from(runs: list[Any], result: ComparisonResult) -> None:
    for run in runs:
        tags = read_tags(run)
        assert tags["comparison"] == result.comparison
        assert (tags["board"], tags["role"]) == ("photos-colours", "panel")
        assert len(tags["split_id"]) == 16
        assert len(tags["data_sha256"]) == 64
        assert {"prefect.flow_run_id", "version.torch", "threads", "cores"} <= set(tags)
        assert float(tags["reload_difference"]) <= 1e-5
        assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["colours"]
    assert len({read_tags(run)["split_id"] for run in runs}) == 1
    assert len({(read_tags(run)["panel"], read_tags(run)["mlflow.runColor"]) for run in runs}) == 3
    assert len({read_tags(run)["mlflow.runColor"] for run in runs}) == 3


def test_the_backbone_is_byte_equal_before_and_after(runs: list[Any]) -> None:
    frozen = [read_tags(run) for run in runs if read_tags(run)["panel"] == "shufflenet_v2_x0_5"]
    assert len({tags[f"backbone_sha256_{when}"] for tags in frozen for when in ("before", "after")}) == 1


def test_figures_and_predictions_are_kept(runs: list[Any]) -> None:
    wanted = {"classes.json", "confusion_matrix.png", "confusion_matrix.json", "test_predictions.json", "probe.npz"}
    for run in runs:
        assert wanted <= set(list_artifacts(run.info.run_id))
        table = connect().load_table(run.info.experiment_id, "test_predictions.json", [run.info.run_id])
        assert len(table) == 11
        right = (table["class"] == table["predicted"]).mean()
        assert right == pytest.approx(run.data.metrics["test_accuracy"])


def test_logged_models_load_with_plain_mlflow_and_predict_raw_images(runs: list[Any], photos: Path) -> None:
    data = load_board(prepare_board(resolve_config("photos", data=str(photos)).boards[0]))
    image = data.images[0][None]
    for run in runs:
        [output] = run.outputs.model_outputs
        model = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
        probabilities = model.predict(image)
        assert list(probabilities) == list(data.prepared.classes)
        assert probabilities.loc[0].sum() == pytest.approx(1.0, abs=1e-5)
        assert model.metadata.signature is not None
        assert model.metadata.saved_input_example_info is not None


def test_the_comparison_run_holds_verdict_table_and_split(result: ComparisonResult, runs: list[Any]) -> None:
    client = connect()
    [comparison] = client.search_runs(
        [runs[0].info.experiment_id], select({"comparison": result.comparison, "role": "comparison"})
    )
    assert (comparison.info.run_name, comparison.info.status) == ("comparison", "FINISHED")
    artifacts = set(list_artifacts(comparison.info.run_id))
    assert {"comparison.json", "comparison.md", "curves.png"} <= artifacts
    panels = {one.label.split(" ")[0]: one.test_accuracy for one in result.report.standings}
    accuracies = {f"test_accuracy.{panel}": pytest.approx(value) for panel, value in panels.items()}
    ensemble = result.report.ensemble
    assert ensemble is not None
    averaged = {f"ensemble_{name}": pytest.approx(value) for name, value in ensemble.standing.metrics.items()}
    assert comparison.data.metrics == {"suspected_labels": 0.0, **accuracies, **averaged}
    logged = json.loads(mlflow.artifacts.load_text(f"{comparison.info.artifact_uri}/comparison.json"))
    assert logged["verdict"] == result.report.verdict
    assert logged["ensemble"]["weights"] == pytest.approx(ensemble.weights)
    page = mlflow.artifacts.load_text(f"{comparison.info.artifact_uri}/report.html")
    assert page.count('<tfoot><tr><th scope="row">ensemble</th>') == page.count(f"<p>{ensemble.text}</p>") == 1
    assert "compareRunsMode=CHART" in comparison.data.tags["mlflow.note.content"]
    split = json.loads(mlflow.artifacts.load_text(f"{comparison.info.artifact_uri}/{_split_file(artifacts)}"))
    assert split["split_id"] == read_tags(runs[0])["split_id"]


def _split_file(artifacts: set[str]) -> str:
    return next(name for name in artifacts if name.startswith("split/"))


def test_labels_are_judged_by_the_stored_embeddings(result: ComparisonResult, photos: Path) -> None:
    assert not any("probably wrong" in caveat for caveat in result.report.caveats)
    options = ["--panel", "shufflenet_v2_x0_5", "--set", "transfer.weights=bundled", "--json"]
    found = CliRunner().invoke(app, ["check", str(photos), "--labels", *options])
    assert (json.loads(found.stdout)["suspects"], found.exit_code) == ([], 0)


def test_an_answer_names_weights_that_cannot_be_loaded(photos: Path) -> None:
    settings = ["transfer.weights=none.pth"]
    [board] = resolve_config("photos", data=str(photos), panels=["shufflenet_v2_x0_5"], settings=settings).boards
    with pytest.raises(WeightsError, match=r"none\.pth"):
        embed_panels(load_board(prepare_board(board)))


def test_easy_photos_are_told_apart_by_every_panel(result: ComparisonResult) -> None:
    assert {standing.label: standing.repeats for standing in result.report.standings} == {
        "numpy-mlp": 2,
        "torch-mlp": 2,
        "shufflenet_v2_x0_5": 2,
    }
    assert max(standing.test_accuracy for standing in result.report.standings) == 1.0


@pytest.mark.parametrize("table", ["ranking", "terminal", "costs", "calibration"])
def test_every_column_of_the_report_has_its_metric(result: ComparisonResult, table: Table) -> None:
    rows = result.report.as_rows(table)
    ensemble = ["ensemble"] if table in RANKINGS else []
    assert [row["panel"] for row in rows] == [*(one.label for one in result.report.standings), *ensemble]
    headings = [column.heading_in(table) for column in COLUMNS if table in column.tables]
    # The memory of a fit is only known where nothing ran beside it, and there are no folds.
    shown = [heading for heading in headings if not {"memory", "folds"} & set(heading.split())]
    assert [heading for heading in rows[0] if "memory" not in heading] == shown


def test_show_finds_the_comparison(result: ComparisonResult) -> None:
    [shown] = [recorded for recorded in find_recorded() if recorded.name == result.comparison]
    assert (shown.role, shown.board, shown.status, shown.missing) == ("comparison", "photos-colours", "FINISHED", [])
    assert shown.verdict == result.report.verdict
    assert shown.ended is not None
    assert shown.started < shown.ended
    assert len(shown.panels) == 6
    assert all(panel.metrics["test_accuracy"] >= 0.0 for panel in shown.panels)


def test_models_that_are_loaded_back_leave_the_import_path_as_it_was(
    result: ComparisonResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests that load models by MLflow alone leave their folders on the path, as MLflow does.
    before = [entry for entry in sys.path if not entry.endswith("artifacts/code")]
    monkeypatch.setattr(sys, "path", list(before))
    [output] = next(iter(_find_runs(result).values())).outputs.model_outputs
    load_logged_model(f"models:/{output.model_id}")
    assert sys.path == before


def test_prefects_page_gets_table_link_and_progress(result: ComparisonResult) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        artifacts = {artifact.key: artifact for artifact in client.read_artifacts()}
        names = {run.name for run in client.read_task_runs(limit=200)}
    keys = artifacts.keys()
    assert {"photos-colours-table", "photos-colours-mlflow", "numpy-mlp-0", "embed-shufflenet-v2-x0-5-shard-0"} <= keys
    assert {"split photos-colours", "train torch-mlp #1", "embed shufflenet_v2_x0_5 from shard 0"} <= names
    assert "evaluate numpy-mlp #0" in names
    assert result.link
    assert str(artifacts["photos-colours-report"].data).startswith("# photos-colours: the comparison\n\n**Champion:** ")
    for key in ("report", "table", "mlflow"):
        assert str(artifacts[f"photos-colours-{key}"].description).startswith("**photos-colours: ")


def read_end(board: str) -> tuple[str, str]:
    """Return the message of the state in which the flow run of a board ended, and the artifact of its end."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterName

    named = FlowRunFilter(name=FlowRunFilterName(any_=[f"compare {board}"]))
    with get_client(sync_client=True) as client:
        [run] = client.read_flow_runs(flow_run_filter=named)
        own = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        [end] = [one for one in client.read_artifacts(artifact_filter=own) if one.key == "compare-end"]
    assert run.state is not None
    return str(run.state.message), str(end.data)


def test_the_end_of_a_flow_run_says_what_came_out(result: ComparisonResult) -> None:
    message, end = read_end("photos-colours")
    assert message.splitlines() == [
        f"photos-colours: {result.report.verdict}",
        f"photos-colours: new champion: {result.promotion}",
    ]
    assert end.startswith("# compare photos-colours ended as Completed after ")
    assert end.count("\n\n") == 2


def test_random_weights_are_labelled_everywhere(prefect_server: None, photos: Path) -> None:
    del prefect_server
    settings = ["transfer.weights=random", "transfer.epochs=1", "repeats=1", "name=ablation"]
    panels = ["shufflenet_v2_x0_5", "shufflenet_v2_x0_5@stage2+shufflenet_v2_x0_5"]
    [result] = compare(resolve_config("photos", data=str(photos), panels=panels, settings=settings))
    labels = {panel: f"{panel} (random weights)" for panel in panels}
    assert {standing.label for standing in result.report.standings} == {*labels.values()}
    assert any("random weights: an ablation" in caveat for caveat in result.report.caveats)
    recorded = next(recorded.panels for recorded in find_recorded() if recorded.name == result.comparison)
    found = {}
    for panel in recorded:
        run = connect().get_run(panel.run_id)
        found[run.info.run_name] = (read_tags(run)["label"], read_tags(run)["weights"])
    assert found == {labels[panel]: (labels[panel], " + ".join(["random"] * len(panel.split("+")))) for panel in panels}


@pytest.fixture(scope="module")
def beside_a_failing_board(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> ComparisonResult:
    """A board without a validation set, after one whose data are missing."""
    del prefect_server
    settings = ["split.validation_fraction=0", "numpy_mlp.epochs=2", "name=sound"]
    config = resolve_config("digits", panels=["numpy-mlp"], settings=settings)
    missing = DataConfig(source=f"folder:{tmp_path_factory.getbasetemp() / 'gone'}")
    gone = config.boards[0].model_copy(update={"name": "gone", "data": missing})
    with pytest.raises(DataError):
        compare(config.model_copy(update={"boards": (gone,)}))
    with pytest.raises(IncompleteError, match=r"^all done except gone \(data .*gone") as caught:
        compare(config.model_copy(update={"boards": (gone, *config.boards)}))
    assert caught.value.bad_input
    result: ComparisonResult
    [result] = caught.value.results
    return result


def test_a_failing_board_does_not_stop_the_next(beside_a_failing_board: ComparisonResult) -> None:
    assert beside_a_failing_board.report.board == "sound"


def test_without_validation_nothing_is_measured_there(beside_a_failing_board: ComparisonResult) -> None:
    result = beside_a_failing_board
    [panel] = next(recorded.panels for recorded in find_recorded() if recorded.name == result.comparison)
    assert not [name for name in panel.metrics if name.startswith("val_")]
    assert any("validation set is empty" in caveat for caveat in result.report.caveats)


def test_a_failing_panel_does_not_stop_the_others_and_leaves_no_run_open(
    prefect_server: None, photos: Path, tmp_path: Path
) -> None:
    import torch

    del prefect_server
    torch.save({"weight": torch.zeros(1)}, tmp_path / "odd.pth")
    settings = [f"transfer.weights={tmp_path / 'odd.pth'}", "numpy_mlp.epochs=2", "name=failing"]
    config = resolve_config("photos", data=str(photos), panels=["shufflenet_v2_x0_5", "numpy-mlp"], settings=settings)
    with pytest.raises(IncompleteError, match=r"do not fit shufflenet_v2_x0_5") as caught:
        compare(config)
    [result] = caught.value.results
    assert caught.value.bad_input
    assert [standing.label for standing in result.report.standings] == ["numpy-mlp"]
    assert result.report.verdict.endswith(" incomplete, without shufflenet_v2_x0_5 #0 and shufflenet_v2_x0_5 #1.")
    assert "decides by hand" in result.promotion
    assert find_champion(config.boards[0].name) is None
    assert [panel.label for panel in result.report.missing] == ["shufflenet_v2_x0_5 #0", "shufflenet_v2_x0_5 #1"]
    assert any(caveat.startswith("missing: shufflenet_v2_x0_5 #0 (weights") for caveat in result.report.caveats)
    experiment = connect().get_experiment_by_name(config.boards[0].name)
    assert experiment is not None
    left = connect().search_runs([experiment.experiment_id])
    assert {run.info.status for run in left} <= {"FAILED", "FINISHED"}
    assert next(run for run in left if read_tags(run)["role"] == "comparison").info.status == "FAILED"
    [shown] = [recorded for recorded in find_recorded() if recorded.board == config.boards[0].name]
    assert (shown.status, len(shown.missing)) == ("FAILED", 2)
    assert shown.missing[0].startswith("shufflenet_v2_x0_5 #0 (weights")
    message, end = read_end(config.boards[0].name)
    assert f"{config.boards[0].name}: challenger refused: " in message
    assert message.splitlines()[-1] == str(caught.value)
    assert end.startswith(f"# compare {config.boards[0].name} ended as Failed after ")


def test_a_model_that_does_not_repeat_its_trainer_is_refused(photos: Path) -> None:
    data = load_board(prepare_board(BoardConfig.model_validate({"data": {"source": str(photos)}})))
    probe = ReferencePredictions(np.arange(3), np.array([[0.5, 0.5]] * 3))

    class Constant:
        def predict(self, images: np.ndarray) -> np.ndarray:
            return np.tile(np.array([[0.5, 0.5]]), (len(images), 1))

    assert check_reload(Constant(), data, probe) == 0.0
    with pytest.raises(ReloadError, match=r"differs by 0\.001 in a probability"):
        check_reload(Constant(), data, ReferencePredictions(probe.indices, probe.probabilities + 0.001))


def test_an_interrupt_closes_every_run_and_says_so(prefect_server: None, own_store: str) -> None:
    from prefect.settings import get_current_settings

    del prefect_server
    environment = {
        **os.environ,
        **get_current_settings().to_environment_variables(exclude_unset=True),
        "MLFLOW_TRACKING_URI": own_store,
    }
    long_enough = ["--panel", "numpy-mlp", "--set", "numpy_mlp.epochs=1000000"]
    command = [str(Path(sys.executable).with_name("triptych")), "compare", *long_enough]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    client = mlflow.MlflowClient(own_store)
    _wait_for(lambda: any(run.data.metrics for run in _all_runs(client)))
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "triptych: interrupted; open runs were closed" in printed
    assert {read_tags(run)["role"]: run.info.status for run in _all_runs(client)} == {
        "comparison": "FAILED",
        "panel": "FAILED",
    }


def _all_runs(client: mlflow.MlflowClient) -> list[Any]:
    experiment = client.get_experiment_by_name("digits")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def _wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.2)


def _find_runs(result: ComparisonResult) -> dict[str, Any]:
    experiment = connect().get_experiment_by_name(result.report.board)
    assert experiment is not None
    return {read_tags(run)["panel"]: run for run in find_panel_runs(experiment.experiment_id, result.comparison)}


def _load_parameters(run: Any) -> bytes:
    [output] = run.outputs.model_outputs
    layers = mlflow.pyfunc.load_model(f"models:/{output.model_id}").get_raw_model().network.layers
    return b"".join(np.ascontiguousarray(array).tobytes() for layer in layers for array in layer)


@pytest.fixture(scope="module")
def twins(prefect_server: None) -> ComparisonResult:
    del prefect_server
    settings = ["numpy_mlp.epochs=4", "torch_mlp.epochs=4", "name=twins"]
    [compared] = compare(resolve_config("digits", panels=["numpy-mlp", "torch-mlp"], settings=settings))
    return compared


def test_the_difference_of_the_twins_is_logged_for_every_epoch(twins: ComparisonResult) -> None:
    histories = [
        connect().get_metric_history(run.info.run_id, "largest_weight_difference_of_twins")
        for run in _find_runs(twins).values()
    ]
    for history in histories:
        assert [point.step for point in history] == [1, 2, 3, 4]
        assert all(0.0 < point.value < 1e-4 for point in history)
    assert [point.value for point in histories[0]] == [point.value for point in histories[1]]
    assert any(
        "are twins: after the last epoch no weight differs by more than" in caveat for caveat in twins.report.caveats
    )


def test_a_training_that_was_cut_off_is_continued_and_says_so(prefect_server: None, twins: ComparisonResult) -> None:
    del prefect_server
    settings = ["numpy_mlp.epochs=4", "numpy_mlp.checkpoint_epochs=2", "name=again"]
    config = resolve_config("digits", panels=["numpy-mlp"], settings=settings)
    [again] = compare(config)
    assert any("numpy-mlp #0 (epochs: 4); use --fresh" in caveat for caveat in again.report.caveats)
    [fresh] = compare(config.model_copy(update={"fresh": True}))
    assert not any("--fresh" in caveat for caveat in fresh.report.caveats)
    runs = [_find_runs(result)["numpy-mlp"] for result in (twins, again, fresh)]
    assert len({_load_parameters(run) for run in runs}) == 1
    assert len({run.info.run_id for run in runs}) == 3
    for run in runs:
        assert [point.step for point in connect().get_metric_history(run.info.run_id, "train_loss")] == [1, 2, 3, 4]


def test_early_stopping_is_told(prefect_server: None) -> None:
    del prefect_server
    settings = ["numpy_mlp.patience=2", "numpy_mlp.keep_best_epoch=true", "numpy_mlp.learning_rate=1.0", "name=early"]
    [result] = compare(resolve_config("digits", panels=["numpy-mlp"], settings=settings))
    tags = read_tags(_find_runs(result)["numpy-mlp"])
    trained, _, wanted = tags["trained_epochs"].partition(" of ")
    assert int(tags["chosen_epoch"]) + 2 == int(trained) < int(wanted) == 60
