from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.mlps import DEMANDING, MLPS, NUMPY_MLP, StoppedError, draw_examples, draw_weighted, flatten, stop_after
from triptych.errors import CheckpointError
from triptych.system.checked import write_checked
from triptych.training.checkpoints import PURPOSE, Checkpoint, CheckpointFile
from triptych.training.epochs import EpochMetrics
from triptych.training.mlp import train_mlp


def test_a_curve_of_an_earlier_version_has_no_log_loss(tmp_path: Path) -> None:
    checkpoint = CheckpointFile(tmp_path / "state.npz", "key")
    metrics = EpochMetrics(1, 1, 0.5, 0.8, 0.1, val_loss=0.6, val_accuracy=0.7)
    checkpoint.save(Checkpoint((metrics,), {}, {}, {}))
    with np.load(checkpoint.file) as stored:
        description = json.loads(stored["description"].tobytes())
    del description["curve"][0]["val_log_loss"]
    with write_checked(checkpoint.file, PURPOSE) as stream:
        np.savez(stream, description=np.frombuffer(json.dumps(description).encode(), np.uint8))
    found = checkpoint.load()
    assert found is not None
    assert found.curve == (metrics,)


@pytest.mark.parametrize("network", MLPS)
@pytest.mark.parametrize("interrupted_after", [1, 4, 7])
def test_a_training_continues_from_its_checkpoint_bit_for_bit(
    network: str, interrupted_after: int, tmp_path: Path
) -> None:
    parts = draw_weighted(), draw_examples(40, 1)
    undisturbed: list[EpochMetrics] = []
    expected = train_mlp(network, DEMANDING, *parts, classes=3, seed=2, on_epoch=undisturbed.append)
    checkpoint = CheckpointFile(tmp_path / "state.npz", "this training", every_epochs=2)
    with pytest.raises(StoppedError):
        train_mlp(
            network, DEMANDING, *parts, classes=3, seed=2, on_epoch=stop_after(interrupted_after), checkpoint=checkpoint
        )
    assert checkpoint.count_epochs() == interrupted_after // 2 * 2
    received: list[EpochMetrics] = []
    continued = train_mlp(
        network, DEMANDING, *parts, classes=3, seed=2, on_epoch=received.append, checkpoint=checkpoint
    )
    assert flatten(continued).tobytes() == flatten(expected).tobytes()
    assert [replace(metrics, epoch_seconds=0.0) for metrics in received] == [
        replace(metrics, epoch_seconds=0.0) for metrics in undisturbed
    ]
    # Once more: the training is over, nothing is computed.
    again = train_mlp(network, DEMANDING, *parts, classes=3, seed=2, checkpoint=checkpoint)
    assert flatten(again).tobytes() == flatten(expected).tobytes()


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def change_a_byte(content: bytes) -> bytes:
    return content[:900] + bytes([content[900] ^ 1]) + content[901:]


def test_a_damaged_checkpoint_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoint = CheckpointFile(tmp_path / "state.npz", "key")
    expected = train_mlp(NUMPY_MLP, DEMANDING, draw_examples(), draw_examples(40, 1), classes=3, seed=2)
    for damage in (cut_off, change_a_byte):
        train_mlp(NUMPY_MLP, DEMANDING, draw_examples(), draw_examples(40, 1), classes=3, seed=2, checkpoint=checkpoint)
        checkpoint.file.write_bytes(damage(checkpoint.file.read_bytes()))
        assert checkpoint.load() is None
        again = train_mlp(
            NUMPY_MLP, DEMANDING, draw_examples(), draw_examples(40, 1), classes=3, seed=2, checkpoint=checkpoint
        )
        assert flatten(again).tobytes() == flatten(expected).tobytes()


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    settings = DEMANDING.model_copy(update={"keep_best_epoch": False})
    theirs, ours = (CheckpointFile(tmp_path / "state.npz", key) for key in ("theirs", "ours"))
    train_mlp(NUMPY_MLP, settings, draw_examples(), classes=3, seed=2, checkpoint=theirs)
    with pytest.raises(CheckpointError, match=r"state\.npz belongs to a training with other data, settings or seed"):
        train_mlp(NUMPY_MLP, settings, draw_examples(), classes=3, seed=2, checkpoint=ours)
