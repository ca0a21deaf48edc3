"""What changed from night to night, and what the last one means in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triptych.evaluation.history.alarm import FEWEST, drop_repeated, find_recent, judge_last
from triptych.evaluation.history.nights import INCOMPLETE, Night

# The kinds of changes in the order of the picture's rows, with their names there.
KINDS = {
    "worse": "worse",
    "failure": "failed",
    "champion": "champion",
    "refused": "refused",
    "data": "data",
    "panels": "panels",
}


# Of so many nights there is hardly one among the recent ones with different results.
LONGEST_LOOK = 365


@dataclass(frozen=True)
class Change:
    """Something that happened in a night.

    Attributes:
        night: the night.
        kind: a key of `KINDS`.
        text: what happened, in one sentence.
    """

    night: Night
    kind: str
    text: str


def list_changes(nights: Sequence[Night]) -> list[Change]:
    """Return what happened in the nights of a board, which are in order, the oldest first."""
    changes: list[Change] = []
    measured: list[Night] = []
    for night in nights:
        changes += [Change(night, *found) for found in _compare(measured[-1] if measured else None, night)]
        if night.panels:
            measured.append(night)
            changes += [Change(night, "worse", alarm.sentence) for alarm in judge_last(measured[-LONGEST_LOOK:])]
    return changes


def _compare(before: Night | None, night: Night) -> Iterator[tuple[str, str]]:
    """Yield the kind and the text of what happened in a night, after the last one with a result."""
    if night.failed:
        yield "failure", f"comparison {night.comparison} ended without a result ({night.status})"
    elif night.status == INCOMPLETE:
        yield "failure", f"missing: {'; '.join(night.missing)}"
    if night.decision == "new":
        yield "champion", f"{night.champion} became champion: {night.reason}"
    elif before and before.champion and night.champion not in {"", before.champion}:
        yield "champion", f"{night.champion} is the champion now, by hand or after an approval"
    # The decision on a model is made once, and repeated in every night that brings the same model.
    if night.decision in {"refused", "waiting"} and not (before and before.reason == night.reason):
        stays = f"the champion stays {night.champion}" if night.champion else "there is still no champion"
        yield "refused", f"{stays}: {night.reason}"
    if before and night.panels:
        yield from (("data", text) for text in _compare_data(before, night))
        yield from (("panels", text) for text in _compare_panels(before, night))


def _compare_data(before: Night, night: Night) -> Iterator[str]:
    differences = {part: night.images.get(part, 0) - before.images.get(part, 0) for part in night.images}
    if moved := [f"{count:+,} {part}" for part, count in differences.items() if count]:
        yield f"images: {', '.join(moved)}"
    elif night.data != before.data:
        yield "the data are others, as many images"
    elif night.test_set != before.test_set:
        yield "the same images are divided in another way"
    if night.drift:
        yield night.drift.sentence


def _compare_panels(before: Night, night: Night) -> Iterator[str]:
    old, new = ([one.label for one in one_night.panels] for one_night in (before, night))
    missing = [line.partition(" ")[0] for line in night.missing]
    if joined := [label for label in new if label not in old]:
        yield f"new: {', '.join(joined)}"
    if gone := [label for label in old if label not in new and label.partition(" ")[0] not in missing]:
        yield f"no longer compared: {', '.join(gone)}"


def summarise(board: str, nights: Sequence[Night], changes: Sequence[Change]) -> str:
    """Return in one sentence what the last night of a board brought.

    Args:
        board: its name.
        nights: in order, one or more.
        changes: as `list_changes` returns them.
    """
    last = nights[-1]
    own = [change for change in changes if change.night is last]
    if not last.panels:
        return f"{board}, {last.date}: the comparison ended without a result; {_say_last_result(nights)}"
    best = last.panels[0]
    text = f"{board}, {last.date}: {best.label} has {best.accuracy:.4f}{_say_difference(nights[:-1], last)}"
    alarms = [change.text for change in own if change.kind == "worse"]
    notes = [change.text for change in own if change.kind in {"failure", "champion", "data", "panels"}]
    what = [*alarms, *notes] or ["nothing else changed"]
    return "; ".join([text, *what, *([] if alarms else [_say_unalarmed(nights)])])


def _say_unalarmed(nights: Sequence[Night]) -> str:
    last = nights[-1].panels[0]
    results = [*drop_repeated(one for night in nights if (one := night.find(last.panel)))]
    if len(results) <= FEWEST:
        return f"an alarm needs {FEWEST} earlier nights with different results, and there are {len(results) - 1}"
    if find_recent(nights):
        return "nothing is worse than chance explains"
    return "all results are those of the night before"


def _say_last_result(nights: Sequence[Night]) -> str:
    measured = [night for night in nights if night.panels]
    if not measured:
        return "no earlier one has one"
    best = measured[-1].panels[0]
    return f"the last result is {best.label} with {best.accuracy:.4f} on {measured[-1].date}"


def _say_when(before: Night, last: Night) -> str:
    return f"{before.time:%H:%M}" if before.date == last.date else before.date


def _say_difference(earlier: Sequence[Night], last: Night) -> str:
    before = next((night for night in reversed(earlier) if night.panels), None)
    if before is None:
        return ", the first result"
    same = before.find(last.panels[0].panel)
    difference = None if same is None else round(100 * (last.panels[0].accuracy - same.accuracy), 2)
    if difference is None:
        return f"; before, {before.panels[0].label} led with {before.panels[0].accuracy:.4f}"
    when = _say_when(before, last)
    return f", {difference:+.2f} points since {when}" if difference else f", the same as {when}"
