from __future__ import annotations

from dataclasses import replace

import numpy as np

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
