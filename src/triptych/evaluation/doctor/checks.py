"""The table of all checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from triptych.evaluation.doctor.answers import (
    find_miscalibrated,
    find_never_predicted,
    find_small_classes,
    find_surprising_validation,
)
from triptych.evaluation.doctor.evidence import Evidence
from triptych.evaluation.doctor.learning import (
    find_best_at_edge,
    find_overfitted,
    find_stalled,
    find_stopped_early,
    find_underfitted,
)
from triptych.evaluation.doctor.rivals import (
    find_beaten_by_majority,
    find_beaten_by_simpler,
    find_slow,
    find_untuned,
    find_wide_spread,
)
from triptych.evaluation.doctor.shortcuts import find_shortcuts
from triptych.evaluation.report import Finding, Found

# `docs/findings` has a page for each code.
CHECKS: dict[str, Callable[[Evidence], Iterable[Found]]] = {
    "T001": find_beaten_by_majority,
    "T002": find_beaten_by_simpler,
    "T003": find_stopped_early,
    "T004": find_overfitted,
    "T005": find_underfitted,
    "T006": find_best_at_edge,
    "T007": find_untuned,
    "T008": find_slow,
    "T009": find_never_predicted,
    "T010": find_surprising_validation,
    "T011": find_shortcuts,
    "T012": find_miscalibrated,
    "T013": find_wide_spread,
    "T014": find_stalled,
    "T015": find_small_classes,
}


def examine_models(evidence: Evidence) -> tuple[Finding, ...]:
    """Return what the checks find about a comparison, in the order of their codes."""
    return tuple(Finding(code, found) for code, check in CHECKS.items() for found in check(evidence))
