from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.comparisons import Recorded, artifacts_missing
from triptych.data.boards import load_board
from triptych.tracking.registry.champions import challenge
from triptych.tracking.registry.scoring import answer, load_seen
from triptych.tracking.registry.versions import find_champion


def test_a_champion_whose_predictions_were_deleted_predicts_again(recorded: Recorded) -> None:
    data = load_board(recorded.comparison.prepared)
    challenge(recorded.comparison.prepared, recorded.panel)
    champion = find_champion("digits")
    assert champion is not None
    known = answer(champion, data, data.split.test)
    with artifacts_missing(recorded, "test_predictions.npz", "validation_predictions.npz"):
        again = answer(champion, data, data.split.test)
    np.testing.assert_array_equal(again, known)


def test_what_a_champion_has_learnt_from_is_its_training_and_validation_set(recorded: Recorded) -> None:
    data = load_board(recorded.comparison.prepared)
    challenge(recorded.comparison.prepared, recorded.panel)
    champion = find_champion("digits")
    assert champion is not None
    seen = load_seen(champion, data)
    assert seen is not None
    np.testing.assert_array_equal(seen.train, data.image_ids[data.split.train])
    np.testing.assert_array_equal(seen.validation, data.image_ids[data.split.validation])


def test_a_champion_is_not_compared_where_another_decoder_gives_other_pixels(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_board(recorded.comparison.prepared)
    challenge(recorded.comparison.prepared, recorded.panel)
    champion = find_champion("digits")
    assert champion is not None
    other = replace(data, image_ids=np.array([b"0" * 32] * len(data.labels)))
    assert load_seen(champion, other) is not None
    monkeypatch.setattr("PIL.__version__", "99.0")
    assert load_seen(champion, other) is None
    assert load_seen(champion, data) is not None
