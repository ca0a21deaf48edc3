"""Checks of a panel against others: against simpler, faster and untuned ones, and against its own repeats."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from triptych.evaluation.doctor.evidence import Evidence, PanelEvidence
from triptych.evaluation.pairs import join_words
from triptych.evaluation.report import Found
from triptych.evaluation.statistics import Groups, compare_pair

# How much there is to a kind of panel; a panel should beat those below it.
COMPLEXITY = {
    "most_frequent": 0,
    "nearest_neighbours": 1,
    "logistic_regression": 1,
    "numpy_mlp": 2,
    "torch_mlp": 2,
    "transfer": 3,
    "combined": 4,
    "fine_tuned": 4,
}
# A panel is slow if it takes so many times as long as another one, and so many seconds more.
SLOWER, SECONDS_MORE = 10.0, 30.0
# Repeats whose accuracies are further apart than this, in 0..1, are different models.
WIDE_SPREAD = 0.05


def find_beaten_by_majority(evidence: Evidence) -> Iterator[Found]:
    """Yield the panels that are not better than the most frequent class of the training images."""
    data = evidence.data
    majority = int(np.bincount(data.labels[data.split.train], minlength=len(evidence.classes)).argmax())
    constant = evidence.labels == majority
    for panel in evidence.panels.values():
        if COMPLEXITY[panel.kind_name] == 0:
            continue
        paired = compare_pair(
            panel.correct, np.tile(constant, (len(panel.correct), 1)), 1.0 - evidence.level, data_groups(evidence)
        )
        if paired.difference <= 0.0 or paired.p_value >= evidence.level:
            learns = "look at the curves for a learning rate that does not suit, and at"
            yield Found(
                f"not shown to be better than always answering {evidence.classes[majority]!r} ({constant.mean():.4f})",
                f"{learns if panel.is_trained_in_epochs else 'look at'} what the images show; a pretrained network may "
                "see more in them",
                panel.label,
                f"{panel.accuracy:.4f}",
            )


def data_groups(evidence: Evidence) -> Groups | None:
    """Return the group of each test image, (n,) int64; None if every image stands alone."""
    groups = evidence.data.groups
    return None if groups is None else groups[evidence.data.split.test]


def find_beaten_by_simpler(evidence: Evidence) -> Iterator[Found]:
    """Yield the simpler panels that are at least as accurate as others."""
    for simple in evidence.panels.values():
        losers = [
            panel.label
            for panel in evidence.panels.values()
            if COMPLEXITY[panel.kind_name] > COMPLEXITY[simple.kind_name] > 0 and panel.accuracy <= simple.accuracy
        ]
        if losers:
            yield Found(
                f"simpler than {join_words(losers)} and at least as accurate",
                "use the simpler panel, or tune the others",
                simple.label,
                f"{simple.accuracy:.4f}",
            )


def find_untuned(evidence: Evidence) -> Iterator[Found]:
    """Yield that tuned panels are compared with untuned ones."""
    chosen = evidence.data.prepared.tuned
    tuned = [panel.label for panel in evidence.panels.values() if panel.name in chosen]
    others = [
        panel.label
        for panel in evidence.panels.values()
        if panel.name not in chosen and panel.kind.space(panel.settings)
    ]
    if tuned and others:
        yield Found(
            f"{join_words(tuned)} {'was' if len(tuned) == 1 else 'were'} tuned, but {join_words(others)} "
            f"{'was' if len(others) == 1 else 'were'} not, so that a difference may come from tuning alone",
            "tune all of them, with as many trials each",
        )


def find_slow(evidence: Evidence) -> Iterator[Found]:
    """Yield the panels that take much longer than another one that is at least as accurate."""
    for panel in evidence.panels.values():
        quicker = [
            one for one in evidence.panels.values() if _is_quicker(one, panel) and one.accuracy >= panel.accuracy
        ]
        if quicker:
            best = min(quicker, key=lambda one: one.seconds)
            yield Found(
                "much slower than a panel that is no less accurate",
                "leave the slower panel out where time counts",
                panel.label,
                f"{panel.seconds:,.0f} s, {best.label} {best.seconds:,.1f} s",
            )


def _is_quicker(one: PanelEvidence, other: PanelEvidence) -> bool:
    return other.seconds >= max(SLOWER * one.seconds, one.seconds + SECONDS_MORE)


def find_wide_spread(evidence: Evidence) -> Iterator[Found]:
    """Yield the panels whose repeats differ so much that one training says little."""
    for panel in evidence.panels.values():
        accuracies = panel.correct.mean(axis=1)
        if np.ptp(accuracies) > WIDE_SPREAD:
            yield Found(
                "accuracy depends on the seed",
                "use more repeats, more epochs or a smaller learning rate",
                panel.label,
                f"{accuracies.min():.4f} to {accuracies.max():.4f} in {len(accuracies)} repeats",
            )
