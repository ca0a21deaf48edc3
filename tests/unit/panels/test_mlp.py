from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData
from triptych.panels.identity import weights_file
from triptych.panels.mlp import MLPTrainer
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import PanelJob


def configure(digits: BoardData, *settings: str) -> BoardData:
    config = resolve_config("digits", settings=["numpy_mlp.epochs=3", "torch_mlp.epochs=3", *settings]).boards[0]
    return replace(digits, prepared=replace(digits.prepared, config=config))


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))


def test_a_trainer_can_be_used_again_and_predicts_what_its_network_does(digits: BoardData) -> None:
    data = configure(digits)
    job = PanelJob(data.prepared, "numpy-mlp", 0)
    trainer = MLPTrainer(data, job, None)
    received: list[EpochMetrics] = []
    trained = [trainer.train(job.settings, received.append) for _ in range(2)]
    assert [metrics.epoch for metrics in received] == [1, 2, 3, 1, 2, 3]
    assert trained[0].describe() == {"trained_epochs": "3 of 3", "chosen_epoch": "3"}
    units = (64, *job.settings.hidden_units, 10)
    assert trained[0].parameters == sum(a * b + b for a, b in itertools.pairwise(units))
    networks: list[Any] = [one.network for one in trained]
    one, other = (trainer.predict(network, np.arange(5)) for network in networks)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one, networks[0].predict_images(digits.pixels[:5]))


def test_twins_save_the_weights_of_every_epoch(digits: BoardData) -> None:
    data = configure(digits)
    for panel in ("numpy-mlp", "torch-mlp"):
        job = PanelJob(data.prepared, panel, 0)
        MLPTrainer(data, job, None).train(job.settings, lambda metrics: None)
        assert all(weights_file(job, epoch).is_file() for epoch in (1, 2, 3))
    alone = configure(digits, "evaluate.compare_twins=false")
    job = PanelJob(alone.prepared, "numpy-mlp", 1)
    MLPTrainer(alone, job, None).train(job.settings, lambda metrics: None)
    assert not weights_file(job, 1).exists()
