from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from helpers.comparisons import Recorded, artifacts_missing
from triptych.tracking.artifacts import load_logged_predictions
from triptych.tracking.registry.champions import challenge
from triptych.tracking.registry.decisions import decide
from triptych.tracking.registry.versions import find_champion


def test_a_champion_whose_images_nobody_knows_is_not_compared(recorded: Recorded) -> None:
    prepared = recorded.comparison.prepared
    challenge(prepared, recorded.panel)
    champion = find_champion("digits")
    assert champion is not None
    other = replace(prepared, split_id="0123456789abcdef")
    with artifacts_missing(recorded, "images.npz"):
        assert decide(prepared, recorded.panel, [], champion, champion).reason.startswith("+0.00 points")
        refused = decide(other, recorded.panel, [], champion, champion)
    assert not refused.promoted
    assert "nobody knows which images the champion, version 1, was trained on" in refused.reason


def test_classes_are_matched_by_name_and_one_that_the_champion_does_not_know_is_wrong(recorded: Recorded) -> None:
    prepared = recorded.comparison.prepared
    challenge(prepared, recorded.panel)
    champion = find_champion("digits")
    assert champion is not None
    predictions = load_logged_predictions(recorded.panel.run_id, "validation_predictions.npz")
    counts = np.bincount(predictions.labels[predictions.correct], minlength=10)
    classes = list(prepared.classes)
    classes[int(counts.argmax())] = "a class of tonight"
    decision = decide(replace(prepared, classes=tuple(classes)), recorded.panel, [], champion, champion)
    lead = 100 * counts.max() / len(predictions.labels)
    test = load_logged_predictions(recorded.panel.run_id)
    lost = 100 * (test.correct & (test.labels == counts.argmax())).mean()
    assert f"{lost:+.2f} points" in decision.reason or f"{lead:+.2f} points" in decision.reason
    assert decision.opened


def test_every_training_of_the_other_panels_is_compared(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of them is worse than the challenger, and so is a sibling of the challenger that counts as no rival."""
    labels = load_logged_predictions(recorded.panel.run_id)
    hits = {"challenger": 0.8, "sibling": 1.0, "first": 0.95, "second": 0.2}
    correct = {run: np.arange(len(labels.correct)) < share * len(labels.correct) for run, share in hits.items()}
    monkeypatch.setattr(
        "triptych.tracking.registry.decisions.load_logged_predictions",
        lambda run_id: SimpleNamespace(correct=correct[run_id]),
    )
    panels = [
        replace(recorded.panel, panel=name, label=name, repeat=repeat, run_id=run)
        for name, repeat, run in (("a", 0, "challenger"), ("a", 1, "sibling"), ("b", 0, "first"), ("b", 1, "second"))
    ]
    version: Any = None
    prepared = recorded.comparison.prepared
    twice = replace(prepared, config=prepared.config.model_copy(update={"repeats": 2}))
    decided = decide(twice, panels[0], panels, None, version)
    assert not decided.promoted
    assert decided.reason.endswith("worse on the test set than training #0 of b")
