"""What changed since the last comparison of a board."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from triptych.data.boards import PreparedBoard
from triptych.evaluation.pairs import join_words
from triptych.evaluation.report import Report

# Accuracies are shown with four digits: smaller changes are none.
SMALLEST_CHANGE = 5e-5


@dataclass(frozen=True)
class PreviousComparison:
    """The last comparison of a board before this one.

    Attributes:
        name: its id.
        date: when it was made, YYYY-MM-DD.
        result: its report as JSON values.
        data_digest: SHA-256 of its data.
        test_set_id: of its test images.
        sizes: the number of images in each part.
    """

    name: str
    date: str
    result: Mapping[str, Any]
    data_digest: str
    test_set_id: str
    sizes: Mapping[str, int]


def describe_changes(prepared: PreparedBoard, report: Report, previous: PreviousComparison | None) -> list[str]:
    """Return what changed since the last comparison, a sentence each.

    Args:
        prepared: the board.
        report: of this comparison.
        previous: the comparison before; None if this is the first one.
    """
    if previous is None:
        return ["This is the first comparison of this board."]
    return [
        f"The last comparison was {previous.name} on {previous.date}.",
        _describe_data(prepared, previous),
        *_describe_panels(report, previous, same_test=prepared.test_set_id == previous.test_set_id),
    ]


def _describe_data(prepared: PreparedBoard, previous: PreviousComparison) -> str:
    if prepared.data_digest == previous.data_digest:
        if prepared.sizes == previous.sizes and prepared.test_set_id == previous.test_set_id:
            return "Data and split are the same."
        return "The data are the same, but divided in another way."
    changes = [
        f"{size - previous.sizes.get(part, 0):+,} {part}"
        for part, size in prepared.sizes.items()
        if size != previous.sizes.get(part, 0)
    ]
    tested = "same" if prepared.test_set_id == previous.test_set_id else "not the same"
    return f"The data changed ({', '.join(changes) or 'other images or labels'}); the test images are {tested}."


def _describe_panels(report: Report, previous: PreviousComparison, *, same_test: bool) -> Iterator[str]:
    before = {one["label"]: float(one["test_accuracy"]) for one in previous.result.get("standings", [])}
    now = {one.label: one.test_accuracy for one in report.standings}
    moved = [
        f"{label} {before[label]:.4f} → {accuracy:.4f}"
        for label, accuracy in now.items()
        if label in before and abs(accuracy - before[label]) >= SMALLEST_CHANGE
    ]
    if moved:
        yield f"Accuracies changed: {join_words(moved)}{'' if same_test else ', on other test images'}."
    elif now.keys() & before.keys():
        yield "All accuracies are the same as before."
    for labels, text in ((now.keys() - before.keys(), "New"), (before.keys() - now.keys(), "No longer compared")):
        if labels:
            yield f"{text}: {join_words(sorted(labels))}."
