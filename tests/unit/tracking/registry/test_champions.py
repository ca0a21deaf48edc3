from __future__ import annotations

from dataclasses import replace

import mlflow
import pytest

from helpers.comparisons import Recorded
from triptych.errors import ConfigError
from triptych.panels.identity import TRAINING
from triptych.tracking.client import connect
from triptych.tracking.registry import (
    challenge,
    find_champion,
    find_version,
    promote,
    rollback,
)
from triptych.tracking.tags import PREFIX


def test_the_first_challenger_is_the_champion_and_is_judged_once(recorded: Recorded) -> None:
    prepared = recorded.comparison.prepared
    first = challenge(prepared, recorded.panel)
    assert (first.promoted, first.reason) == (True, "there was no champion")
    again = challenge(prepared, recorded.panel)
    assert (again.promoted, again.reason) == (True, "there was no champion")
    champion = find_champion("digits")
    assert champion is not None
    assert champion.run_id == recorded.panel.run_id
    assert champion.tags[PREFIX + "split_id"] == prepared.split_id
    assert "540 test images" in str(champion.description)


def test_a_champion_of_another_split_is_not_compared(recorded: Recorded) -> None:
    challenge(recorded.comparison.prepared, recorded.panel)
    other = replace(recorded.comparison.prepared, split_id="0123456789abcdef")
    panel = replace(recorded.panel, run_id=recorded.comparison.run_id)
    refused = challenge(other, panel)
    assert not refused.promoted
    assert f"was tested on split {recorded.comparison.prepared.split_id}" in refused.reason


def test_a_champion_is_promoted_and_rolled_back_by_hand(recorded: Recorded) -> None:
    challenge(recorded.comparison.prepared, recorded.panel)
    with pytest.raises(ConfigError, match="is its first champion"):
        rollback("digits")
    mlflow.register_model(recorded.panel.model_uri, "digits")
    promote("digits", "2")
    assert str(find_version("digits").version) == "2"
    assert rollback("digits") == "1"
    assert str(find_version("digits@champion").version) == "1"


def test_a_model_that_was_judged_before_is_known_as_such(recorded: Recorded) -> None:
    first = challenge(recorded.comparison.prepared, recorded.panel)
    run = connect().create_run(
        recorded.comparison.experiment_id, tags={PREFIX + TRAINING: recorded.fitted.tags[TRAINING]}
    )
    again = challenge(recorded.comparison.prepared, replace(recorded.panel, run_id=run.info.run_id, restored_epochs=2))
    assert (first.promoted, first.earlier) == (True, False)
    assert (again.promoted, again.earlier) == (True, True)
