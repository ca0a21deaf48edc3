from __future__ import annotations

from dataclasses import replace

import pytest

from triptych.data.boards import BoardData
from triptych.evaluation.page.changes import PreviousComparison, describe_changes
from triptych.evaluation.report import Report, Standing


def report(**accuracies: float) -> Report:
    standings = tuple(
        Standing(label, 1, None, 0.0, 1.0, {"test_accuracy": value}) for label, value in accuracies.items()
    )
    return Report("digits", 540, standings, (), "", ())


@pytest.fixture
def previous(digits: BoardData) -> PreviousComparison:
    prepared = digits.prepared
    result = report(one=0.9, other=0.8).as_json()
    return PreviousComparison(
        "20260101-1", "2026-01-01", result, prepared.data_digest, prepared.test_set_id, prepared.sizes
    )


def test_the_first_comparison_says_so(digits: BoardData) -> None:
    assert describe_changes(digits.prepared, report(one=0.9), None) == ["This is the first comparison of this board."]


def test_nothing_new_is_said_in_three_sentences(digits: BoardData, previous: PreviousComparison) -> None:
    assert describe_changes(digits.prepared, report(one=0.9, other=0.80001), previous) == [
        "The last comparison was 20260101-1 on 2026-01-01.",
        "Data and split are the same.",
        "All accuracies are the same as before.",
    ]


def test_changes_of_data_and_panels_are_named(digits: BoardData, previous: PreviousComparison) -> None:
    fewer = replace(previous, data_digest="0", test_set_id="1", sizes={**previous.sizes, "train": 1000})
    found = describe_changes(digits.prepared, report(one=0.91, third=0.7), fewer)
    assert found[1:] == [
        "The data changed (+5 train); the test images are not the same.",
        "Accuracies changed: one 0.9000 → 0.9100, on other test images.",
        "New: third.",
        "No longer compared: other.",
    ]
    [_, divided, *_] = describe_changes(digits.prepared, report(one=0.9), replace(previous, test_set_id="1"))
    assert divided == "The data are the same, but divided in another way."


def test_a_result_of_an_unknown_version_is_no_fault(digits: BoardData, previous: PreviousComparison) -> None:
    assert describe_changes(digits.prepared, report(one=0.9), replace(previous, result={}))[2:] == ["New: one."]
