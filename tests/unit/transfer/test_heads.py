from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.mlps import StoppedError, draw_examples, stop_after
from triptych.config.trainers import TransferConfig
from triptych.training.checkpoints import CheckpointFile
from triptych.transfer.heads import train_head


def test_a_head_continues_from_its_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    settings = TransferConfig(epochs=5, batch_size=7)
    checkpoint = CheckpointFile(tmp_path / "state.npz", "head")
    given_data: dict[str, Any] = {"classes": 3, "dropout": 0.5, "seed": 0}
    expected = train_head(settings, draw_examples(), None, **given_data, on_epoch=lambda metrics: None)
    with pytest.raises(StoppedError):
        train_head(settings, draw_examples(), None, **given_data, on_epoch=stop_after(3), checkpoint=checkpoint)
    head = train_head(
        settings, draw_examples(), None, **given_data, on_epoch=lambda metrics: None, checkpoint=checkpoint
    )
    assert head.linear.weight.detach().numpy().tobytes() == expected.linear.weight.detach().numpy().tobytes()
