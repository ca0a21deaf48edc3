from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.config.resolve import resolve_config
from triptych.config.trainers import TransferConfig
from triptych.data.boards import PreparedBoard, open_board, prepare_board
from triptych.data.shards.places import Run
from triptych.evaluation.evaluator import check_reload, evaluate_logged_model
from triptych.networks.head import TransferNetwork
from triptych.networks.saved import load_model
from triptych.panels.fitting import FittedPanel, fit_panel
from triptych.panels.prediction import predict_raw
from triptych.training.epochs import EpochMetrics
from triptych.training.examples import select_parts
from triptych.training.jobs import PanelJob
from triptych.training.loop import fit_network
from triptych.transfer.finetuning.steps import FineTuning
from triptych.transfer.records import EmbeddingRecord
from triptych.transfer.weights import load_backbone
from triptych.tuning.trainers import load_trainer

NAME = "shufflenet_v2_x0_5"
SETTINGS = TransferConfig(
    unfreeze_blocks=2, epochs=2, batch_size=11, weights="bundled", embedding_threads=1, cache_embeddings=False
)
PHOTOS = {"green": 12, "red": 12}


@pytest.fixture(scope="module")
def prepared(make_photos: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> PreparedBoard:
    """A board whose 12 training images make batches of 11 and 1: two processes can share neither evenly."""
    folder = make_photos(tmp_path_factory.mktemp("few") / "colours", PHOTOS, seed=6)
    board = resolve_config("digits", data=f"folder:{folder}").boards[0]
    return prepare_board(board.model_copy(update={"panels": (NAME,), "transfer": SETTINGS}))


def make_job(prepared: PreparedBoard, **fields: Any) -> PanelJob:
    transfer = prepared.config.transfer.model_copy(update=fields)
    return PanelJob(replace(prepared, config=prepared.config.model_copy(update={"transfer": transfer})), NAME, 0)


@pytest.fixture(scope="module")
def fitted(prepared: PreparedBoard, tmp_path_factory: pytest.TempPathFactory) -> FittedPanel:
    job = make_job(prepared, augmentation="crop_and_flip", learning_rate=0.05)
    embedded = EmbeddingRecord((), load_backbone(NAME, "bundled").digest(), 24, 0, 0.5)
    folder = tmp_path_factory.mktemp("model") / "model"
    return fit_panel(open_board(job.prepared), job, folder, lambda metrics: None, embedded)


def test_a_fine_tuned_panel_repeats_its_probabilities(prepared: PreparedBoard, fitted: FittedPanel) -> None:
    board, model = open_board(prepared), load_model(fitted.folder)
    assert check_reload(model, board, fitted.reference) <= 1e-5
    network: Any = model.get_raw_model()
    assert isinstance(network, TransferNetwork)
    tested = predict_raw(network, board, None, board.split.test)
    expected = network.predict_images([board.images[int(index)] for index in board.split.test])
    np.testing.assert_array_equal(tested, expected)


def test_test_images_go_through_the_network_that_was_trained(prepared: PreparedBoard, fitted: FittedPanel) -> None:
    job, nowhere = make_job(prepared), EmbeddingRecord((Run(Path("of-the-frozen-network.npy"), 0, 24),), "", 24, 0, 0.0)
    board, model = open_board(job.prepared), load_model(fitted.folder)
    evaluation = evaluate_logged_model(model, NAME, board, fitted.reference, nowhere)
    expected = predict_raw(model.get_raw_model(), board, None, board.split.test)
    np.testing.assert_array_equal(evaluation.predictions.probabilities, expected)


def test_a_trial_fine_tunes_too(prepared: PreparedBoard) -> None:
    job = make_job(prepared, learning_rate=0.05)
    tried: list[EpochMetrics] = []
    trained: list[EpochMetrics] = []
    board, settings = open_board(job.prepared), job.prepared.config.transfer
    load_trainer(board, NAME, None)(settings, tried.append)
    tuning = FineTuning(load_backbone(NAME, "bundled"), settings, 2, seed=0)
    fit_network(tuning, settings, *select_parts(board), rng=tuning.rng, on_epoch=trained.append)
    assert [metrics.val_loss for metrics in tried] == [metrics.val_loss for metrics in trained]
    assert all(metrics.val_log_loss == metrics.val_loss for metrics in trained)


def test_tags_describe_what_was_trained(fitted: FittedPanel) -> None:
    tags = fitted.tags
    assert tags["trained_blocks"] == "2 of 18: stage4.3, conv5.0"
    assert tags["frozen_sha256_before"] == tags["frozen_sha256_after"]
    assert tags["backbone_sha256_before"] != tags["backbone_sha256_after"]
    assert (tags["processes"], tags["batch_norm"], tags["training_precision"]) == ("1", "eval", "float32")
    assert 0 < int(tags["trained_parameters"]) < fitted.metrics["parameters"]
    assert len(fitted.curves["train_loss"]) == 2
