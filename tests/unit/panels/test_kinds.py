"""Every row of the table of kinds keeps what the rest of the house expects of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_sample_weight
from threadpoolctl import threadpool_info, threadpool_limits

from triptych.config.resolve import resolve_config
from triptych.config.schema import BoardConfig
from triptych.config.trainers import KINDS_OF_PANELS, PanelConfig, PanelSections
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.errors import ConfigError
from triptych.evaluation.metrics import measure_probabilities
from triptych.networks.saved import load_model, read_description
from triptych.panels.fitting import Trainer, fit_panel
from triptych.panels.kinds import KINDS, PREDICTORS, find_kind
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import PanelJob
from triptych.tuning.search_spaces import apply_parameters, build_distribution, find_space, select_known

ON_PIXELS = sorted(name for name, kind in KINDS.items() if kind.input == "thumbnails")


@pytest.fixture(scope="module")
def digits() -> BoardData:
    panels = [name.replace("_", "-") for name in ON_PIXELS]
    settings = ["numpy_mlp.epochs=3", "torch_mlp.epochs=3", "evaluate.compare_twins=false"]
    return load_board(prepare_board(resolve_config("digits", panels=panels, settings=settings).boards[0]))


def test_every_section_has_a_row_and_every_row_a_section() -> None:
    assert {kind.section for kind in KINDS.values()} == set(KINDS_OF_PANELS)
    assert set(KINDS_OF_PANELS) <= set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_row_names_what_exists(name: str) -> None:
    kind = KINDS[name]
    section = PanelSections.model_fields[kind.section].default
    assert isinstance(section, PanelConfig)
    assert kind.input in PREDICTORS
    assert list(inspect.signature(kind.find_trainer()).parameters) == ["data", "job", "embedded"]
    assert {method for method in ("train", "predict") if hasattr(kind.find_trainer(), method)} == {"train", "predict"}
    assert set(kind.surroundings(section)) >= set()
    for field, values in kind.space(section).items():
        assert field in type(section).model_fields
        build_distribution(values, images=100)


def test_predictions_do_not_depend_on_how_many_threads_others_leave_free(digits: BoardData) -> None:
    class CountingNetwork:
        def predict_images(self, images: object) -> int:
            del images
            return min(int(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas")

    predict = KINDS["numpy_mlp"].find_predictor()
    with threadpool_limits(2, user_api="blas"):
        assert predict(CountingNetwork(), digits, None, digits.split.test) == 1


@pytest.mark.parametrize("name", ON_PIXELS)
def test_a_panel_on_pixels_is_fitted_saved_and_predicts_the_same(name: str, digits: BoardData, tmp_path: Path) -> None:
    epochs: list[EpochMetrics] = []
    job = PanelJob(digits.prepared, name.replace("_", "-"), 0)
    fitted = fit_panel(digits, job, tmp_path / "model", epochs.append)
    served = load_model(fitted.folder)
    again = served.predict(digits.pixels[fitted.reference.indices]).to_numpy()
    assert np.abs(again - fitted.reference.probabilities).max() < 1e-6
    assert np.allclose(again.sum(axis=1), 1.0, atol=1e-5)
    assert read_description(fitted.folder)["kind"] == name
    assert not [file for file in fitted.folder.iterdir() if file.suffix in {".pkl", ".pickle", ".joblib"}]
    assert epochs
    assert fitted.curves["val_accuracy"][-1] == epochs[-1].val_accuracy
    validation, chosen = digits.split.validation, int(fitted.tags["chosen_epoch"]) - 1
    metrics = measure_probabilities(digits.labels[validation], served.predict(digits.pixels[validation]).to_numpy(), 15)
    assert fitted.curves["val_log_loss"][chosen] == pytest.approx(metrics["test_log_loss"], rel=1e-5)
    assert fitted.metrics["parameters"] > 0
    assert {"threads", "training", "trained_epochs"} <= set(fitted.tags)


RARE, FEW = (1, 3, 8), 5


@pytest.fixture(scope="module")
def rare(digits: BoardData) -> BoardData:
    """The digits with five training images each of 1, 3 and 8, and about a hundred of each other digit."""
    labels, split = digits.labels[digits.split.train], digits.split
    left_out = np.concatenate([np.flatnonzero(labels == digit)[FEW:] for digit in RARE])
    fields = {"activation": "relu", "loss": "cross_entropy", "learning_rate": 0.05, "weight_decay": 0.02, "epochs": 15}
    config = digits.prepared.config
    mlps = {name: getattr(config, name).model_copy(update=fields) for name in ("numpy_mlp", "torch_mlp")}
    prepared = replace(digits.prepared, config=config.model_copy(update=mlps))
    return replace(digits, prepared=prepared, split=replace(split, train=np.delete(split.train, left_out)))


def fit_weighted(data: BoardData, panel: str, class_weights: str) -> tuple[NDArray[np.float64], EpochMetrics]:
    """Return the probabilities of all images, and the metrics of the last epoch."""
    config = data.prepared.config.model_copy(update={"class_weights": class_weights})
    data = replace(data, prepared=replace(data.prepared, config=config))
    job = PanelJob(data.prepared, panel, 0)
    trainer: Trainer = find_kind(config, panel).find_trainer()(data, job, None)
    epochs: list[EpochMetrics] = []
    network = trainer.train(job.settings, epochs.append).network
    return trainer.predict(network, np.arange(len(data.labels))).astype(np.float64), epochs[-1]


@pytest.mark.parametrize("name", ON_PIXELS)
def test_balanced_classes_are_recognised_where_images_of_them_are_rare(name: str, rare: BoardData) -> None:
    panel, train, test = name.replace("_", "-"), rare.split.train, rare.split.test
    recalls, isin = [], np.isin(rare.labels[test], RARE)
    for class_weights in ("none", "balanced"):
        probabilities, metrics = fit_weighted(rare, panel, class_weights)
        right = probabilities.argmax(axis=1) == rare.labels
        recalls.append(right[test][isin].mean())
        # The training loss is weighted, every other figure counts each image once.
        assert metrics.train_accuracy == pytest.approx(right[train].mean())
        assert metrics.val_accuracy == pytest.approx(right[rare.split.validation].mean())
        weights = compute_sample_weight(None if class_weights == "none" else "balanced", rare.labels[train])
        own = np.maximum(probabilities[np.arange(len(right)), rare.labels], np.finfo(np.float32).tiny)
        assert metrics.train_loss == pytest.approx(np.average(-np.log(own)[train], weights=weights), rel=1e-5)
    assert recalls[1] > recalls[0] + 0.15 if name != "most_frequent" else recalls == [0.0, 0.0]


def test_a_classifier_that_was_fitted_before_is_found_again(digits: BoardData, tmp_path: Path) -> None:
    job = PanelJob(digits.prepared, "logistic-regression", 0)
    first, second = (fit_panel(digits, job, tmp_path / name, lambda metrics: None) for name in ("first", "second"))
    assert second.restored_epochs == 1
    assert np.array_equal(first.reference.probabilities, second.reference.probabilities)
    assert first.tags == second.tags


def test_all_trainers_take_part_in_trials(digits: BoardData) -> None:
    for name in ON_PIXELS:
        panel = name.replace("_", "-")
        settings = digits.prepared.config.settings_of(panel)
        if not KINDS[name].space(settings):
            with pytest.raises(ConfigError, match="has nothing to tune"):
                find_space(digits.prepared.config, panel, images=1005)
            continue
        space = find_space(digits.prepared.config, panel, images=1005)
        known = select_known(space, settings)
        assert set(known) == set(space), "the panel's own setting can be the first trial"
        assert all(getattr(apply_parameters(settings, known), field) == getattr(settings, field) for field in space)


def test_a_network_that_is_trained_itself_has_a_row_of_its_own() -> None:
    frozen = BoardConfig(panels=("resnet50",))
    tuned = BoardConfig.model_validate(
        {"panels": ("resnet50",), "transfer": {"cache_embeddings": False, "unfreeze_blocks": 1}}
    )
    assert (find_kind(frozen, "resnet50").input, find_kind(tuned, "resnet50").input) == ("embeddings", "raw")


def test_a_kind_without_an_exporter_is_refused_in_one_line() -> None:
    without = replace(KINDS["numpy_mlp"], onnx=None)
    with pytest.raises(ConfigError, match="of this kind cannot be exported to ONNX: fetch it with --format mlflow"):
        without.find_exporter()


def test_too_many_neighbours_are_refused(digits: BoardData) -> None:
    config = digits.prepared.config
    section = config.nearest_neighbours.model_copy(update={"neighbours": 5000})
    trainer: Callable[..., Trainer] = find_kind(config, "nearest-neighbours").find_trainer()
    panel = trainer(digits, PanelJob(digits.prepared, "nearest-neighbours", 0), None)
    with pytest.raises(ConfigError, match="neighbours = 5000 is more than the 1005 training images: set at most 1005"):
        panel.train(section, lambda metrics: None)
