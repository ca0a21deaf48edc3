"""Register the models of a comparison; the best one on validation may replace the champion of the board."""

from __future__ import annotations

from prefect.logging import get_run_logger

from triptych.evaluation.promotion import Promotion, choose_best
from triptych.evaluation.report import EvaluatedPanel, MissingPanel
from triptych.orchestration import step
from triptych.tracking import ComparisonRecord, challenge, register_panel


@step("promote {comparison.prepared.config.name}")
def promote_champion(comparison: ComparisonRecord, panels: list[EvaluatedPanel], missing: list[MissingPanel]) -> str:
    """Register the best repeat of each panel; return a line that says which model is the champion, and why.

    An incomplete comparison makes no champion: the panel that is missing might have been the best.
    """
    for name in dict.fromkeys(panel.panel for panel in panels):
        best = choose_best([panel for panel in panels if panel.panel == name])
        if best is not None:
            register_panel(comparison.prepared, best)
    challenger = choose_best(panels)
    if challenger is None:
        return "no model was registered: without a validation set, none can be chosen"
    verdict = _describe(challenger, challenge(comparison.prepared, challenger, [panel.label for panel in missing]))
    get_run_logger().info(verdict)
    return verdict


def _describe(challenger: EvaluatedPanel, promotion: Promotion) -> str:
    if promotion.earlier:
        state = "is the champion, as before" if promotion.promoted else "is not the champion, as before"
        return f"{challenger.label}, the best on validation, {state}"
    verb = "is the new champion" if promotion.promoted else "does not replace the champion"
    return f"{challenger.label}, the best on validation, {verb}: {promotion.reason}"
