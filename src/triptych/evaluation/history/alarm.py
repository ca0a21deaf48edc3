"""The alarm: is a panel worse tonight than the recent nights say is chance?

Two things are random, and the last night has to be worse than either of them explains: the p-value is the larger of
two (an intersection-union test, Berger 1982). Test images are random: Fisher's exact test compares the correct images
of tonight with those of the recent nights together (Fisher 1935). Nights are random, since trainings, data and test
sets differ from one to the next: Student's prediction interval compares tonight's accuracy with the mean of the recent
nights by the standard deviation between them (Hahn and Meeker 1991, "Statistical intervals"). It does so on the scale
of probits (Bliss 1934): near 1 an accuracy falls further than it rises, and on its own scale a board without any change
would have three to thirty times as many false alarms as it should.

A night that repeats the results of the one before says nothing new. It counts once among the recent nights, and never
alarms: otherwise thirty nights without a new photo would pass for thirty measurements.

Every night is looked at, and every panel. A false alarm may come to a board in one year of twenty: each night has the
365th part of 5 %, and each panel its part of that (Bonferroni). `make simulate` draws what this promises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf, log, sqrt
from typing import Any

import numpy as np
from scipy.special import betaln, ndtri, stdtr

from triptych.evaluation.history.nights import Night, PanelNight

# With fewer recent nights the spread between them is hardly known; older ones may have had other data.
FEWEST, MOST = 5, 30
# Where this much is explained already, nothing can be an alarm.
NO_DOUBT = 0.05
# The probability of a false alarm of a board within a year of nights.
YEARLY_LEVEL, NIGHTS_OF_A_YEAR = 0.05, 365


@dataclass(frozen=True)
class Alarm:
    """A panel that is worse than the recent nights say is chance.

    Attributes:
        label: the panel's name as reports show it.
        accuracy: tonight's.
        images: size of tonight's test set.
        recent: the mean accuracy of the recent nights.
        nights: the number of different results among the recent nights.
        p_value: multiplied by the number of panels that are looked at.
    """

    label: str
    accuracy: float
    images: int
    recent: float
    nights: int
    p_value: float

    @property
    def sentence(self) -> str:
        """What it says."""
        return (
            f"{self.label} is worse than chance explains: {self.accuracy:.4f} on {self.images:,} test images, after "
            f"{self.recent:.4f} in the last {self.nights} nights with a new result (p = {self.p_value:.2g}, and "
            f"{YEARLY_LEVEL / NIGHTS_OF_A_YEAR:.1e} a night is one false alarm in {1 / YEARLY_LEVEL:.0f} years)"
        )


def judge_last(nights: Sequence[Night]) -> list[Alarm]:
    """Return the panels that are worse in the last of some nights, which are in order, the oldest first.

    Nights without a result are passed over.
    """
    compared = find_recent(nights)
    level = YEARLY_LEVEL / NIGHTS_OF_A_YEAR
    alarms = []
    for panel, recent in compared.items():
        p_value = min(1.0, len(compared) * find_p_value(panel, recent))
        if p_value < level:
            mean = float(np.mean([one.accuracy for one in recent]))
            alarms.append(Alarm(panel.label, panel.accuracy, panel.images, mean, len(recent), p_value))
    return alarms


def find_recent(nights: Sequence[Night]) -> dict[PanelNight, list[PanelNight]]:
    """Return the panels of the last night that can be judged, each with its recent results, the oldest first.

    Those cannot that repeat their last result, or have too few.
    """
    measured = [night for night in nights if night.panels]
    compared = {}
    for panel in measured[-1].panels if measured else ():
        results = (one for night in reversed(measured[:-1]) if (one := night.find(panel.panel)))
        recent = [*islice(drop_repeated(results), MOST)]
        if len(recent) >= FEWEST and not _repeats(panel, recent[0]):
            compared[panel] = recent[::-1]
    return compared


def drop_repeated(results: Iterable[PanelNight]) -> Iterator[PanelNight]:
    """Yield the results of a panel, night by night, without those that repeat the one before."""
    before = None
    for one in results:
        if before is None or not _repeats(one, before):
            yield one
        before = one


def _repeats(one: PanelNight, other: PanelNight) -> bool:
    # The log loss of two trainings, or of two test sets, is never the same in all digits.
    return (one.accuracy, one.log_loss) == (other.accuracy, other.log_loss)


def find_p_value(tonight: PanelNight, recent: Sequence[PanelNight]) -> float:
    """Return the one-sided probability of an accuracy this low if tonight is like the recent nights.

    If the spread between the nights explains it anyway, the test images are not asked.

    Args:
        tonight: what the last night measured of a panel.
        recent: what earlier nights measured of it, at least two.
    """
    by_nights = _explain_by_nights(tonight, recent)
    return by_nights if by_nights > NO_DOUBT else max(by_nights, _explain_by_images(tonight, recent))


def _explain_by_nights(tonight: PanelNight, recent: Sequence[PanelNight]) -> float:
    probits = np.array([_find_probit(one) for one in recent])
    nights, lead = len(probits), _find_probit(tonight) - float(probits.mean())
    spread = float(probits.std(ddof=1)) * sqrt(1.0 + 1.0 / nights)
    return float(stdtr(nights - 1, lead / spread if spread else inf * np.sign(lead) if lead else 0.0))


def _find_probit(one: PanelNight) -> float:
    """Return the empirical probit of an accuracy, which is finite also without an error."""
    correct = one.accuracy * one.independent_images
    return float(ndtri((correct + 0.5) / (one.independent_images + 1.0)))


def _explain_by_images(tonight: PanelNight, recent: Sequence[PanelNight]) -> float:
    wrong, images = _count_wrong(tonight), tonight.independent_images
    all_wrong = wrong + sum(map(_count_wrong, recent))
    all_images = images + sum(one.independent_images for one in recent)
    # So many of all wrong images, or more, are tonight's. `scipy.stats` would take half a second to be imported.
    counts = np.arange(wrong, min(all_wrong, images) + 1)
    ways = _log_choose(all_wrong, counts) + _log_choose(all_images - all_wrong, images - counts)
    return min(1.0, float(np.exp(ways - _log_choose(all_images, images)).sum()))


def _log_choose(n: int, k: Any) -> Any:
    """Return the logarithm of the number of ways to choose k of n."""
    return -betaln(1 + n - k, 1 + k) - log(n + 1)


def _count_wrong(one: PanelNight) -> int:
    return one.independent_images - round(one.accuracy * one.independent_images)
