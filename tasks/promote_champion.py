"""Register the models of a comparison; the best one on validation may replace the champion of the board."""

from __future__ import annotations

from dataclasses import replace

from prefect.logging import get_run_logger

from triptych.evaluation.promotion import choose_best
from triptych.evaluation.report import EvaluatedPanel, MissingPanel
from triptych.orchestration import step
from triptych.system.progress import tracking
from triptych.tracking.leases import own_leases
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.registry.champions import Verdict, challenge, register_panel


@step("promote {comparison.prepared.config.name}")
def promote_champion(
    comparison: ComparisonRecord, panels: list[EvaluatedPanel], missing: list[MissingPanel]
) -> Verdict | None:
    """Register the best repeat of each panel, and decide whether the best of all becomes the champion.

    An incomplete comparison makes no champion: the panel that is missing might have been the best. Without a validation
    set none can be chosen, and nothing is registered.
    """
    own_leases.require(comparison.run_id)
    names, models = dict.fromkeys(panel.panel for panel in panels), []
    with tracking("register models", passing=True) as move:
        for done, name in enumerate(names):
            move(done, len(names), name)
            best = choose_best([panel for panel in panels if panel.panel == name])
            if best is not None:
                models.append(register_panel(comparison.prepared, best))
    challenger = choose_best(panels)
    if challenger is None:
        return None
    absent = [panel.label for panel in missing]
    with tracking("decide on the champion", passing=True):
        verdict = challenge(comparison.prepared, challenger, panels, absent, comparison)
    get_run_logger().info(verdict.text)
    return replace(verdict, models=tuple(models))
