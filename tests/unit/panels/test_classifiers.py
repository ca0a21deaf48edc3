from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData
from triptych.networks.minibatches import Examples
from triptych.panels.classifiers import ClassifierTrainer, measure
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import PanelJob

PANELS = ("most-frequent", "nearest-neighbours", "logistic-regression")


class Certain:
    """Gives the first class 0.8 and the second 0.2."""

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        return np.tile(np.array([[0.8, 0.2]]), (len(features), 1))


def test_loss_and_accuracy_by_hand() -> None:
    examples = Examples(np.zeros((4, 3)), np.array([0, 0, 0, 1]))
    certain: Any = Certain()
    loss, accuracy, log_loss = measure(certain, examples)
    assert accuracy == 0.75
    assert loss == log_loss == pytest.approx(-(3 * np.log(0.8) + np.log(0.2)) / 4)
    weighted = replace(examples, weights=np.array([0.5, 0.5, 1.0, 2.0]))
    loss, accuracy, _ = measure(certain, weighted)
    assert accuracy == 0.75
    assert loss == pytest.approx(-(2 * np.log(0.8) + 2 * np.log(0.2)) / 4)


@pytest.mark.parametrize("panel", PANELS)
def test_a_fit_is_one_epoch_and_is_restored_from_its_checkpoint(panel: str, digits: BoardData, tmp_path: Path) -> None:
    config = resolve_config("digits", panels=PANELS).boards[0]
    data = replace(digits, prepared=replace(digits.prepared, config=config))
    job = PanelJob(data.prepared, panel, 0)
    checkpoint = CheckpointFile(tmp_path / "checkpoint.npz", "key")
    received: list[EpochMetrics] = []
    trainer = ClassifierTrainer(data, job, None)
    first, second = (trainer.train(job.settings, received.append, checkpoint) for _ in range(2))
    assert [(metrics.epoch, metrics.epochs) for metrics in received] == [(1, 1)] * 2
    assert received[0] == received[1]
    assert first.describe() == second.describe()
    networks: list[Any] = [first.network, second.network]
    one, other = (trainer.predict(network, digits.split.validation) for network in networks)
    np.testing.assert_array_equal(one, other)
    labels = digits.labels[digits.split.validation]
    assert (one.argmax(axis=1) == labels).mean() == pytest.approx(received[0].val_accuracy)
