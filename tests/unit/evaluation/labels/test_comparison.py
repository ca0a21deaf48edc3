from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from triptych.data.boards import BoardData
from triptych.evaluation.labels import comparison
from triptych.evaluation.labels.comparison import choose_features, judge_comparison
from triptych.transfer.records import BoardEmbeddings


def test_a_comparison_without_embeddings_is_judged_by_its_pixels(digits: BoardData) -> None:
    wrong = np.arange(10)
    labels = digits.labels.copy()
    labels[wrong] = (labels[wrong] + 1) % 10
    data = replace(digits, labels=labels)
    judged = judge_comparison(data, choose_features(data, BoardEmbeddings({}), []))
    assert judged
    assert len({one.index for one in judged.suspects} & set(wrong.tolist())) >= 9
    tested = np.isin([one.index for one in judged.suspects], digits.split.test).sum()
    assert judged.caveats == [f"{len(judged.suspects)} of 1,797 labels are probably wrong, {tested} in the test set"]


def test_a_comparison_that_is_too_large_is_not_judged(digits: BoardData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MOST_NUMBERS", 1000)
    assert choose_features(digits, BoardEmbeddings({}), []) is None
    assert judge_comparison(digits, None) is None
