"""Which panels of a board differ significantly, and the result of a comparison in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from triptych.evaluation.statistics import Correct, PairedDifference, adjust_p_values, compare_pair


@dataclass(frozen=True)
class Pair:
    """Two panels of a board, the more accurate one first.

    Attributes:
        first: the label of the more accurate panel.
        second: the label of the other.
        paired: their difference.
        adjusted_p_value: after Holm's correction over all pairs of the board.
        separated: whether the difference is significant at the board's level.
    """

    first: str
    second: str
    paired: PairedDifference
    adjusted_p_value: float
    separated: bool

    def as_row(self) -> dict[str, str]:
        """Return the pair as text, a dictionary from heading to cell."""
        paired = self.paired
        return {
            "panels": f"{self.first} - {self.second}",
            "difference": f"{100 * paired.difference:+.2f} points",
            "interval": f"{100 * paired.low:+.2f} to {100 * paired.high:+.2f}",
            "only first correct": f"{paired.only_first:g}",
            "only second correct": f"{paired.only_second:g}",
            "p (McNemar)": f"{paired.p_value:.3g}",
            "p (Holm)": f"{self.adjusted_p_value:.3g}",
            "significant": "yes" if self.separated else "no",
        }


def compare_pairs(
    correct: Mapping[str, Mapping[int, Correct]], ranked: Sequence[str], confidence_level: float
) -> tuple[Pair, ...]:
    """Compare every pair of panels of a board, on the repeats that both have.

    Args:
        correct: for each label and repeat, (n,) bool, which test images are classified correctly.
        ranked: the labels, the most accurate first.
        confidence_level: of the intervals; one minus it is the significance level for all pairs together.
    """
    found = []
    for first, second in combinations(ranked, 2):
        if repeats := sorted(correct[first].keys() & correct[second].keys()):
            one, other = (np.stack([correct[label][repeat] for repeat in repeats]) for label in (first, second))
            found.append(Pair(first, second, compare_pair(one, other, confidence_level), 1.0, separated=False))
    adjusted = adjust_p_values([pair.paired.p_value for pair in found]).tolist()
    return tuple(
        replace(pair, adjusted_p_value=p_value, separated=p_value < 1.0 - confidence_level)
        for pair, p_value in zip(found, adjusted, strict=True)
    )


def decide(best: str, accuracy: float, pairs: Sequence[Pair], test_images: int, confidence_level: float) -> str:
    """Return in one sentence which panel wins and by how much, or whose difference could be chance.

    Args:
        best: the label of the most accurate panel.
        accuracy: its accuracy.
        pairs: all pairs of the board, those of `best` in the order of the ranking.
        test_images: size of the test set.
        confidence_level: of the intervals.

    >>> decide("numpy-mlp", 0.975, [], 540, 0.95)
    'numpy-mlp reaches 0.9750 on 540 test images; there is no other panel to compare it with.'
    """
    score = f"{accuracy:.4f} on {test_images} test images"
    own = [pair for pair in pairs if pair.first == best]
    if not own:
        return f"{best} reaches {score}; there is no other panel to compare it with."
    beaten = [pair.second for pair in own if pair.separated]
    near = [pair.second for pair in own if not pair.separated]
    if near:
        rest = f"; it is significantly better than {join_words(beaten)}" if beaten else ""
        return f"{best} leads with {score}, but its lead over {join_words(near)} could be chance{rest}."
    closest = own[0]
    paired = closest.paired
    return (
        f"{best} wins with {score}, {100 * paired.difference:.2f} points ahead of {closest.second} "
        f"({100 * confidence_level:g} % interval {100 * paired.low:.2f} to {100 * paired.high:.2f}, "
        f"Holm-adjusted p = {closest.adjusted_p_value:.2g})."
    )


def join_words(words: Sequence[str]) -> str:
    """Return words as an enumeration.

    >>> join_words(["one", "two", "three"])
    'one, two and three'
    """
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
