"""Which panels of a board differ significantly, and the result of a comparison in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import fmean

import numpy as np

from triptych.evaluation.columns import NO_VALUE
from triptych.evaluation.folds.corrected import Folds, compare_folds
from triptych.evaluation.statistics import (
    Correct,
    Groups,
    PairedDifference,
    adjust_p_values,
    compare_pair,
    expect_lead,
    spell_p,
)

# What a verdict says where each panel was trained once.
SINGLE_TRAININGS = "Each panel was trained once: repeats=5 compares methods instead of single trainings."


@dataclass(frozen=True)
class Pair:
    """Two panels of a board, the more accurate one first.

    Attributes:
        first: the label of the more accurate panel.
        second: the label of the other.
        paired: their difference.
        adjusted_p_value: after Holm's correction over all pairs of the board.
        adjusted_low: lower bound of the interval with the same correction: above 0 exactly if `separated`.
        adjusted_high: upper bound.
        separated: whether the first is significantly better at the board's level.
    """

    first: str
    second: str
    paired: PairedDifference
    adjusted_p_value: float
    adjusted_low: float
    adjusted_high: float
    separated: bool

    def as_row(self) -> dict[str, str]:
        """Return the pair as text, a dictionary from heading to cell."""
        paired = self.paired
        return {
            "panels": f"{self.first} - {self.second}",
            "points": f"{100 * paired.difference:+.2f}",
            "interval": format_interval(paired.low, paired.high),
            "interval (Holm)": format_interval(self.adjusted_low, self.adjusted_high),
            "only one correct": f"{paired.only_first:g} : {paired.only_second:g}",
            "P(first better) on new seeds": _format_probability(paired.first_ahead),
            "p": f"{paired.p_value:.3g}",
            "p (Holm)": f"{self.adjusted_p_value:.3g}",
            "significant": "yes" if self.separated else "no",
        }


def build_pair_rows(pairs: Sequence[Pair]) -> list[dict[str, str]]:
    """Return the table of pairs as text, without columns that are empty."""
    rows = [pair.as_row() for pair in pairs]
    shown = {heading for row in rows for heading, cell in row.items() if cell != NO_VALUE}
    return [{heading: cell for heading, cell in row.items() if heading in shown} for row in rows]


def _format_probability(probability: float | None) -> str:
    """Return a probability in percent, without rounding it to certainty.

    >>> _format_probability(0.914), _format_probability(0.9999), _format_probability(1.0)
    ('91 %', '> 99 %', '100 %')
    """
    if probability is None:
        return NO_VALUE
    return "> 99 %" if 0.99 < probability < 1.0 else f"{100 * probability:.0f} %"


def format_interval(low: float, high: float) -> str:
    """Return the bounds of a difference in accuracy in points.

    >>> format_interval(-0.0123, 0.2)
    '-1.23 to +20.00'
    """
    return f"{100 * low:+.2f} to {100 * high:+.2f}"


def compare_pairs(
    correct: Mapping[str, Mapping[int, Correct]],
    ranked: Sequence[str],
    confidence_level: float,
    groups: Groups | None = None,
    folds: Mapping[int, Folds] | None = None,
    others: Sequence[tuple[str, str]] = (),
) -> tuple[Pair, ...]:
    """Compare every pair of panels of a board, on the repeats that both have.

    Panels that agree on every image are one hypothesis in Holm's correction: their comparisons with a third panel are
    one, and there is none between them.

    Args:
        correct: for each label and repeat, (n,) bool, which test images are classified correctly.
        ranked: the labels, the most accurate first.
        confidence_level: of the intervals; one minus it is the significance level for all pairs together.
        groups: (n,) int64, the group of each test image; None if every image stands alone.
        folds: for each repeat, (n,) int64, the fold that tests each image; None without cross-validation.
        others: further pairs of labels, which come last and count in the correction, too.
    """
    found: list[tuple[str, str, PairedDifference]] = []
    hypotheses: list[frozenset[bytes]] = []
    for first, second in [*combinations(ranked, 2), *others]:
        if repeats := sorted(correct[first].keys() & correct[second].keys()):
            one, other = (np.stack([correct[label][repeat] for repeat in repeats]) for label in (first, second))
            hypotheses.append(frozenset((one.tobytes(), other.tobytes())))
            if other.sum() > one.sum():
                first, second, one, other = second, first, other, one
            if folds:
                tested_in = np.stack([folds[repeat] for repeat in repeats])
                paired = compare_folds(one, other, tested_in, confidence_level, groups)
            else:
                paired = compare_pair(one, other, confidence_level, groups)
            found.append((first, second, paired))
    tested = {key: pair[2].p_value for key, pair in zip(hypotheses, found, strict=True) if not pair[2].agree}
    adjusted = dict(zip(tested, adjust_p_values(list(tested.values())).tolist(), strict=True))
    return tuple(
        _adjust(*pair, adjusted.get(key, 1.0), confidence_level) for key, pair in zip(hypotheses, found, strict=True)
    )


def _adjust(first: str, second: str, paired: PairedDifference, p_value: float, confidence_level: float) -> Pair:
    """Return a pair with its interval at the level that Holm's correction leaves to it."""
    level = 1.0 - confidence_level
    low, high = paired.interval(1.0 - level * paired.p_value / p_value)
    return Pair(first, second, paired, p_value, low, high, separated=p_value < level)


def decide(best: str, accuracy: float, pairs: Sequence[Pair], tested: str, confidence_level: float) -> str:
    """Return in a few sentences which panel wins and by how much, or whose difference could be chance.

    With one repeat, trainings are compared and not methods, and the words say so.

    Args:
        best: the label of the most accurate panel.
        accuracy: its accuracy.
        pairs: all pairs of the board, those of `best` in the order of the ranking.
        tested: what it is measured on, with the number of images.
        confidence_level: of the intervals.

    >>> decide("numpy-mlp", 0.975, [], "540 test images", 0.95)
    'numpy-mlp reaches 0.9750 on 540 test images; there is no other panel to compare it with.'
    """
    score = f"{accuracy:.4f} on {tested}"
    own = [pair for pair in pairs if best in (pair.first, pair.second)]
    if not own:
        return f"{best} reaches {score}; there is no other panel to compare it with."
    others = {pair.second if pair.first == best else pair.first: pair for pair in own}
    level = [best, *(label for label, pair in others.items() if pair.paired.difference == 0.0)]
    won = {(pair.first, pair.second) for pair in pairs if pair.separated}
    beaten: dict[tuple[str, ...], list[str]] = {}
    for label in (one for one in others if one not in level):
        beaten.setdefault(tuple(one for one in level if (one, label) in won), []).append(label)
    near = beaten.pop((), [])
    rest = [f"{'their' if len(level) > 1 else 'its'} lead over {join_words(near)} could be chance" if near else ""]
    for winners, labels in sorted(beaten.items(), key=lambda item: -len(item[0])):
        rest.append(f"{_name_winners(winners, level)} significantly better than {join_words(labels)}")
    ending = "; ".join(filter(None, rest))
    single = any(pair.paired.repeats == 1 for pair in own)
    if len(level) > 1:
        kind = "These trainings of " if single else ""
        sentence = f"{kind}{join_words(level)} are level with {score}{'; ' if ending else ''}{ending}."
    elif near:
        sentence = f"{'This training of ' if single else ''}{best} leads with {score}, but {ending}."
    else:
        margin = describe_margin(others[beaten[(best,)][0]], confidence_level)
        sentence = f"{'This training of ' if single else ''}{best} wins with {score}, {margin}."
    agreeing = [f"{join_words(labels)} agree on every test image." for labels in _group_agreeing(pairs)]
    return " ".join([sentence, *agreeing, *([SINGLE_TRAININGS] if single else [])])


def _name_winners(winners: Sequence[str], level: Sequence[str]) -> str:
    """Return the subject and the verb of a sentence about some of the panels that share the lead.

    >>> _name_winners(["a"], ["a"]), _name_winners(["a", "b"], ["a", "b"]), _name_winners(["a"], ["a", "b"])
    ('it is', 'they are', 'a is')
    """
    if len(winners) == len(level):
        return "they are" if len(level) > 1 else "it is"
    return f"{join_words(winners)} {'are' if len(winners) > 1 else 'is'}"


def explain_luck(best: str, pairs: Sequence[Pair]) -> list[str]:
    """Return by how many points the best panel would lead by chance, among those that could be as good; empty if none.

    Panels that agree on every test image count once.

    Args:
        best: the label of the most accurate panel.
        pairs: all pairs of the board.
    """
    near = {pair.second if pair.first == best else pair.first for pair in pairs if best in (pair.first, pair.second)}
    near -= {pair.second for pair in pairs if pair.first == best and pair.separated}
    agreeing = [frozenset((pair.first, pair.second)) for pair in pairs if pair.paired.agree]
    different: list[str] = []
    for label in (best, *sorted(near)):
        if not any(frozenset((label, other)) in agreeing for other in different):
            different.append(label)
    spreads = [pair.paired.spread for pair in pairs if {pair.first, pair.second} <= {*different}]
    if not spreads:
        return []
    # Half of the variance of a difference is each panel's.
    variance = fmean(spread.variance / 2.0 for spread in spreads)
    lead = 100.0 * expect_lead(sqrt(variance), len(different))
    counted = " (those that agree on every test image count as one)" if len(different) <= len(near) else ""
    text = f"the best of {len(different)} panels that could be equally good{counted} is {lead:.2f} points ahead of"
    return [f"{text} their mean by chance alone: its accuracy on other images is likely to be that much lower"]


def describe_margin(closest: Pair, confidence_level: float) -> str:
    """Return by how much the first panel of a pair is ahead, with interval and p-value."""
    return (
        f"{100 * closest.paired.difference:.2f} points ahead of {closest.second} "
        f"({100 * confidence_level:g} % interval {format_interval(closest.adjusted_low, closest.adjusted_high)}, "
        f"{spell_p(closest.adjusted_p_value)}, both with Holm's correction)"
    )


def _group_agreeing(pairs: Sequence[Pair]) -> list[list[str]]:
    """Return the groups of panels that agree on every test image in every repeat."""
    groups: list[list[str]] = []
    for pair in pairs:
        if pair.paired.agree:
            group = next((known for known in groups if {pair.first, pair.second} & {*known}), None)
            if group is None:
                groups.append(group := [])
            group += [label for label in (pair.first, pair.second) if label not in group]
    return groups


def join_words(words: Sequence[str], named: int | None = None) -> str:
    """Return words as an enumeration, in which all but the first few are only counted if there are more.

    >>> join_words(["one", "two", "three"]), join_words(["one", "two", "three"], named=1)
    ('one, two and three', 'one and 2 others')
    """
    if named is not None and len(words) > named + 1:
        words = [*words[:named], f"{len(words) - named:,} others"]
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
