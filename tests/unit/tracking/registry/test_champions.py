from __future__ import annotations

import time
from dataclasses import replace

import mlflow
import pytest

from helpers.comparisons import Recorded
from triptych.errors import ConfigError
from triptych.panels.identity import TRAINING
from triptych.tracking.client import connect
from triptych.tracking.registry.champions import challenge, promote, rollback
from triptych.tracking.registry.versions import find_champion, find_version
from triptych.tracking.tags import COMPARISON, PREFIX


def test_the_first_challenger_is_the_champion_and_is_judged_once(recorded: Recorded) -> None:
    prepared = recorded.comparison.prepared
    first = challenge(prepared, recorded.panel, comparison=recorded.comparison)
    assert first.state == "new"
    assert first.reason.startswith("there was no champion; it beats the most frequent class")
    assert challenge(prepared, recorded.panel) == first
    assert first.text.startswith("numpy-mlp, the best on validation, is the new champion: ")
    several = replace(prepared, config=prepared.config.model_copy(update={"repeats": 5}))
    one_of_several = challenge(several, replace(recorded.panel, repeat=2))
    assert one_of_several == replace(first, label="training #2 of numpy-mlp")
    champion = find_champion("digits")
    assert champion is not None
    assert champion.run_id == recorded.panel.run_id
    assert champion.tags[PREFIX + "split_id"] == prepared.split_id
    card = str(champion.description)
    assert card.startswith("# numpy-mlp on digits")
    assert card.count("## Promotion") == 1
    assert "opened for 1 decision(s)" in card
    comparison = recorded.comparison
    assert f"it won comparison [{comparison.comparison}](#/" in card
    assert f"/runs/{comparison.run_id})" in card
    assert f"[comparison {comparison.comparison}](#/" in card.partition("## Promotion")[0]
    order = [card.index(f"## {heading}") for heading in ("Caveats", "Provenance", "Promotion", "Settings")]
    assert order == sorted(order)
    assert champion.tags[PREFIX + COMPARISON] == comparison.comparison
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert first.champion == f"numpy-mlp (version 1) remains the champion since {today}, test set opened once"


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
    assert (first.state, again.state) == ("new", "same")
    assert "remains the champion since" in again.text
