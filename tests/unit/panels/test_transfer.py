from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.errors import FrozenError
from triptych.panels.transfer import HeadTrainer, predict_embeddings
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import PanelJob
from triptych.transfer.plan import embed_board, plan_board
from triptych.transfer.records import EmbeddingRecord

PANEL = "shufflenet_v2_x0_5"


@pytest.fixture(scope="module")
def data(photos: Path) -> BoardData:
    settings = ["transfer.weights=bundled", "transfer.epochs=3", "transfer.precision=float32"]
    config = resolve_config("photos", data=str(photos), panels=[PANEL], settings=settings)
    return load_board(prepare_board(config.boards[0]))


@pytest.fixture(scope="module")
def embedded(data: BoardData) -> EmbeddingRecord:
    return embed_board(data, plan_board(data, [PANEL]), range(1), lambda done, total: None).record_of(PANEL)


def test_a_head_is_trained_on_stored_embeddings(data: BoardData, embedded: EmbeddingRecord) -> None:
    job = PanelJob(data.prepared, PANEL, 0)
    trainer = HeadTrainer(data, job, embedded)
    trained = trainer.train(job.settings, lambda metrics: None)
    described = trained.describe()
    assert described["backbone_sha256_before"] == described["backbone_sha256_after"] == embedded.backbone_digest
    assert described["trained_parameters"] == str(1024 * 2 + 2)
    network: Any = trained.network
    stored = trainer.predict(network, data.split.test)
    np.testing.assert_array_equal(predict_embeddings(network, data, embedded, data.split.test), stored)
    live = network.predict_images([data.images[int(index)] for index in data.split.test])
    np.testing.assert_allclose(live, stored, atol=1e-5)


def test_the_head_is_trained_with_the_weights_of_the_images(data: BoardData, embedded: EmbeddingRecord) -> None:
    weights, train = np.linspace(0.0, 1.0, len(data.labels)), data.split.train
    job, epochs = PanelJob(data.prepared, PANEL, 0), list[EpochMetrics]()
    trainer = HeadTrainer(replace(data, image_weights=weights), job, embedded)
    network: Any = trainer.train(job.settings, epochs.append).network
    losses = -np.log(trainer.predict(network, train)[np.arange(len(train)), data.labels[train]])
    assert epochs[-1].train_loss == pytest.approx(np.average(losses, weights=weights[train]), rel=1e-4)


def test_a_backbone_that_is_not_the_embedded_one_is_noticed(data: BoardData, embedded: EmbeddingRecord) -> None:
    job = PanelJob(data.prepared, PANEL, 0)
    trainer = HeadTrainer(data, job, embedded)
    trainer.embedded = replace(embedded, backbone_digest="that of another")
    trained = trainer.train(job.settings, lambda metrics: None)
    with pytest.raises(FrozenError, match=f"{PANEL} is frozen, but its weights have changed"):
        trained.describe()


@pytest.mark.parametrize("head", ["sgd", "lbfgs"])
def test_a_head_is_trained_on_the_embeddings_of_several_networks(photos: Path, head: str) -> None:
    """The saved head takes the embeddings as they are; it was trained on standardised ones."""
    parts = [PANEL, f"{PANEL}@stage2"]
    panel = "+".join(parts)
    settings = ["transfer.epochs=2", "transfer.precision=float32", f"transfer.head={head}"]
    settings.append(f"networks.{PANEL}.weights=bundled")
    config = resolve_config("photos", data=str(photos), panels=[panel], settings=settings).boards[0]
    data = load_board(prepare_board(config))
    record = embed_board(data, plan_board(data, [panel]), range(1), lambda done, total: None).record_of(panel)
    job, epochs = PanelJob(data.prepared, panel, 0), list[EpochMetrics]()
    trainer = HeadTrainer(data, job, record)
    trained = trainer.train(job.settings, epochs.append)
    described = trained.describe()
    assert described["backbone_sha256_before"] == described["backbone_sha256_after"]
    assert described["weights"] == "bundled + bundled"
    assert described["trained_parameters"] == str((1024 + 48) * 2 + 2)
    network: Any = trained.network
    train, test = data.split.train, data.split.test
    stored = predict_embeddings(network, data, record, test)
    np.testing.assert_array_equal(trainer.predict(network, test), stored)
    live = network.predict_images([data.images[int(index)] for index in test])
    np.testing.assert_allclose(live, stored, atol=1e-4)
    correct = trainer.predict(network, train).argmax(axis=1) == data.labels[train]
    assert epochs[-1].train_accuracy == pytest.approx(correct.mean(), abs=1e-9)
