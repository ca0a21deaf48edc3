from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from helpers.nights import make_night, make_nights
from triptych.evaluation.history.changes import list_changes, summarise
from triptych.evaluation.history.drift import Drift
from triptych.evaluation.history.nights import INCOMPLETE, Night

BEFORE = make_night(0, 513, 500, champion="panel-0 (version 1)", reason="it is better")
GROWN = {"train": 1017, "validation": 252, "test": 540}


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"images": GROWN, "data": "two"}, "data", "images: +12 train"),
        ({"data": "two"}, "data", "the data are others, as many images"),
        ({"test_set": "two"}, "data", "the same images are divided in another way"),
        (
            {"drift": Drift("vgg16", 12, 99, 0.2, 0.001)},
            "data",
            "the added images are unlike the earlier ones of their",
        ),
        (
            {"decision": "new", "champion": "panel-1 (version 2)", "reason": "p = 0.001"},
            "champion",
            "panel-1 (version 2) became champion: p = 0.001",
        ),
        ({"champion": "panel-1 (version 2)"}, "champion", "panel-1 (version 2) is the champion now, by hand or after"),
        ({"decision": "refused", "reason": "p = 0.4"}, "refused", "the champion stays panel-0 (version 1): p = 0.4"),
        ({"status": INCOMPLETE, "missing": ("vgg16 (no weights)",)}, "failure", "missing: vgg16 (no weights)"),
        ({"panels": make_night(0, 513, 500, 490).panels}, "panels", "new: panel-2"),
        ({"panels": BEFORE.panels[:1]}, "panels", "no longer compared: panel-1"),
        ({"panels": (), "status": "killed"}, "failure", "comparison night-001 ended without a result (killed)"),
    ],
)
def test_each_change_is_found_and_named(changes: dict[str, Any], kind: str, text: str) -> None:
    night = replace(BEFORE, comparison="night-001", started=BEFORE.started + 1, **changes)
    [change] = list_changes([BEFORE, night])
    assert (change.night, change.kind) == (night, kind)
    assert change.text.startswith(text)


def test_the_same_decision_is_told_once_and_equal_nights_have_no_change() -> None:
    refused = [replace(BEFORE, comparison=str(number), decision="refused", reason="p = 0.4") for number in range(3)]
    assert [change.kind for change in list_changes(refused)] == ["refused"]
    assert list_changes(make_nights()) == []


@pytest.mark.parametrize(
    ("nights", "words"),
    [
        ([BEFORE], "photos, 2026-01-02: panel-0 has 0.9500, the first result; nothing else changed; an alarm needs 5"),
        (make_nights(), "points since 2026-01-12; nothing else changed; nothing is worse than chance explains"),
        ([*make_nights(), make_night(20)], "the comparison ended without a result; the last result is panel-0 with"),
        ([make_night(20)], "ended without a result; no earlier one has one"),
        ([*make_nights(), make_night(20, 440, 515)], "points since 2026-01-13; panel-0 is worse than chance explains"),
        (
            [*make_nights(), replace(make_nights()[-1], comparison="again")],
            "nothing else changed; all results are those of the night before",
        ),
        (
            [BEFORE, replace(BEFORE, comparison="1", panels=make_night(1, 1, 2, 500).panels[2:])],
            "panel-2 has 0.9259; before, panel-0 led with 0.9500; new: panel-2; no longer compared: panel-0",
        ),
    ],
)
def test_the_last_night_is_one_sentence(nights: list[Night], words: str) -> None:
    sentence = summarise("photos", nights, list_changes(nights))
    assert words in sentence
