from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.photos import write_photos
from triptych.config.resolve import resolve_config
from triptych.config.trainers import TransferConfig
from triptych.data.boards import open_board, prepare_board
from triptych.errors import ConfigError
from triptych.training.checkpoints import Checkpoint, CheckpointFile
from triptych.training.epochs import EpochMetrics
from triptych.training.examples import select_parts
from triptych.training.jobs import PanelJob
from triptych.training.loop import fit_network
from triptych.transfer.finetuning import data_parallel
from triptych.transfer.finetuning.ranks import Rank
from triptych.transfer.finetuning.steps import FineTuning
from triptych.transfer.weights import load_backbone

NAME = "shufflenet_v2_x0_5"


@pytest.mark.parametrize(("gpus", "processes", "count"), [(0, 0, 1), (0, 3, 3), (2, 0, 2), (2, 1, 1)])
def test_there_is_a_process_for_each_gpu(
    gpus: int, processes: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    settings = TransferConfig(processes=processes, cache_embeddings=False)
    assert data_parallel.count_processes(settings) == count


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="processes = 3 is more than the 2 GPUs here"):
        data_parallel.count_processes(TransferConfig(processes=3, cache_embeddings=False))


def test_only_the_first_process_writes_the_checkpoint(tmp_path: Path) -> None:
    others = data_parallel.OthersCheckpoint(tmp_path / "checkpoint.npz", "key")
    others.save(Checkpoint((), {}, {}, {}))
    assert not list(tmp_path.iterdir())
    CheckpointFile(tmp_path / "checkpoint.npz", "key").save(Checkpoint((), {}, {}, {}))
    assert others.load() is not None


def test_a_process_alone_trains_what_fine_tuning_trains(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "colours", {"green": 12, "red": 12})
    settings = TransferConfig(
        unfreeze_blocks=1, epochs=1, weights="bundled", embedding_threads=1, cache_embeddings=False
    )
    board = resolve_config("digits", data=f"folder:{photos}").boards[0]
    section = settings.model_copy(update={"epochs": 2})
    own = {"panels": (NAME,), "transfer": section, "networks": {NAME: {"epochs": 1}}}
    prepared = prepare_board(board.model_copy(update=own))
    sent: list[EpochMetrics] = []
    state = data_parallel._train(PanelJob(prepared, NAME, 0), None, Rank(0, 1), sent.append)
    tuning = FineTuning(load_backbone(NAME, "bundled"), settings, 2, seed=0)
    parts = select_parts(open_board(prepared))
    fit_network(tuning, settings, *parts, rng=tuning.rng, on_epoch=lambda metrics: None)
    expected = tuning.copy_state()
    assert [metrics.epoch for metrics in sent] == [1]
    assert state.keys() == expected.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
