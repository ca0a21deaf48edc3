from __future__ import annotations

from dataclasses import replace

import numpy as np

from triptych.data.boards import BoardData
from triptych.training.epochs import EpochMetrics
from triptych.tuning.trainers import load_trainer


def test_trials_see_the_validation_set_and_never_the_test_set(digits: BoardData) -> None:
    settings = digits.prepared.config.numpy_mlp.model_copy(update={"epochs": 2})

    def validate(data: BoardData) -> list[dict[str, float]]:
        received: list[EpochMetrics] = []
        load_trainer(data, "numpy-mlp", None)(settings, received.append)
        return [{**metrics.values(), "epoch_seconds": 0.0} for metrics in received]

    def spoil(part: str) -> BoardData:
        pixels, labels = np.array(digits.pixels), digits.labels.copy()
        indices = getattr(digits.split, part)
        pixels[indices], labels[indices] = 0, 0
        return replace(digits, pixels=pixels, labels=labels)

    assert validate(spoil("test")) == validate(digits)
    assert validate(spoil("validation")) != validate(digits)
