from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from triptych.data.boards import BoardData
from triptych.data.shards.places import Run
from triptych.images.gradients import describe_gradients
from triptych.panels.answers.labels import are_small, find_features, provide_features
from triptych.transfer.records import EmbeddingRecord


def test_digits_need_no_network(digits: BoardData) -> None:
    assert are_small(digits)
    assert (np.asarray(provide_features(digits, "")) == describe_gradients(digits.pixels)).all()


def test_embeddings_that_are_not_on_this_machine_are_not_computed(digits: BoardData, tmp_path: Path) -> None:
    record = EmbeddingRecord((Run(tmp_path / "elsewhere.npy", 0, 1797),), "", 1797, 0, 0.0)
    few = replace(digits, pixels=digits.pixels[:9])
    assert (np.asarray(find_features(few, {"resnet50": record})) == describe_gradients(digits.pixels[:9])).all()
