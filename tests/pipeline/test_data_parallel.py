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
from triptych.errors import DivergenceError
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import EpochMetrics
from triptych.training.examples import select_parts
from triptych.training.jobs import PanelJob
from triptych.training.loop import fit_network
from triptych.transfer.finetuning.data_parallel import train_in_processes
from triptych.transfer.finetuning.steps import FineTuning
from triptych.transfer.weights import load_backbone

NAME = "shufflenet_v2_x0_5"
SETTINGS = TransferConfig(
    unfreeze_blocks=2, epochs=2, batch_size=11, weights="bundled", embedding_threads=1, cache_embeddings=False
)
PHOTOS = {"green": 12, "red": 12}


@pytest.fixture(scope="module")
def prepared(make_photos: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> PreparedBoard:
    """A board whose 12 training images make batches of 11 and 1: two processes can share neither evenly.

    The images of one class are twice as many as those of the other, and the classes are weighted.
    """
    folder = make_photos(tmp_path_factory.mktemp("few") / "colours", PHOTOS, seed=12)
    board = resolve_config("digits", data=f"folder:{folder}").boards[0]
    return prepare_board(
        board.model_copy(update={"panels": (NAME,), "transfer": SETTINGS, "class_weights": "balanced"})
    )


def make_job(prepared: PreparedBoard, **fields: Any) -> PanelJob:
    transfer = prepared.config.transfer.model_copy(update=fields)
    return PanelJob(replace(prepared, config=prepared.config.model_copy(update={"transfer": transfer})), NAME, 0)


def test_two_processes_give_the_weights_of_one(prepared: PreparedBoard, tmp_path: Path) -> None:
    job = make_job(prepared, augmentation="flip", keep_best_epoch=True, checkpoint_epochs=1)
    board, settings = open_board(job.prepared), job.prepared.config.transfer
    train_part, validation = select_parts(board)
    assert len(train_part) == 12
    assert set(np.asarray(train_part.weights).tolist()) == {0.75, 1.5}
    alone: list[EpochMetrics] = []
    tuning = FineTuning(load_backbone(NAME, "bundled"), settings, 2, seed=0)
    fit_network(tuning, settings, train_part, validation, rng=tuning.rng, on_epoch=alone.append)
    together: list[EpochMetrics] = []
    checkpoint = CheckpointFile(tmp_path / "checkpoint.npz", "shared")
    state = train_in_processes(job, 2, checkpoint, together.append)
    expected = tuning.copy_state()
    assert state.keys() == expected.keys()
    for name, array in state.items():
        np.testing.assert_allclose(array, expected[name], rtol=0.0, atol=1e-5, err_msg=name)
    for one, other in zip(alone, together, strict=True):
        assert (one.epoch, one.val_accuracy) == (other.epoch, other.val_accuracy)
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
    assert checkpoint.count_epochs() == settings.epochs


@pytest.mark.endurance
def test_an_error_in_a_process_is_the_parents(prepared: PreparedBoard) -> None:
    with pytest.raises(DivergenceError, match="learning rate 1e\\+30 is too large") as caught:
        train_in_processes(make_job(prepared, learning_rate=1e30), 1, None, lambda metrics: None)
    assert "\n" not in str(caught.value)
