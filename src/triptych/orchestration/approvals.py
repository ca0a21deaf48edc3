"""Promotions that wait for somebody's approval: the flow run is paused, and asks on Prefect's page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from triptych.config.schema import BoardConfig
from triptych.errors import ConfigError
from triptych.evaluation.report import ComparisonResult
from triptych.orchestration.progress import has_pages, name_key
from triptych.system.text import escape_markdown
from triptych.tracking.registry.champions import approve

Outcome = TypeVar("Outcome")
SECONDS_BETWEEN_CHECKS = 10
SECONDS_PER_HOUR = 3600


class Answer(RunInput):
    """The form on the page of the paused flow run."""

    approve: bool = Field(default=True, description="Make this version the champion.")


def require_approver(boards: Iterable[BoardConfig]) -> None:
    """Check that there is a page on which a promotion can be approved, if a board waits for that.

    Raises:
        ConfigError: there is only Prefect's temporary server, which has no pages.
    """
    if any(board.promote.approval for board in boards) and not has_pages():
        raise ConfigError(
            "promote.approval=true waits for an answer on Prefect's page, but there is no server: set PREFECT_API_URL "
            "to one, or decide by hand with `triptych promote`"
        )


def ask_for_approvals(boards: Iterable[BoardConfig], outcomes: Mapping[str, Any]) -> dict[str, Any]:
    """Pause the flow run for each comparison whose challenger waits for approval; return all outcomes with the answers.

    Args:
        boards: the boards of the flow run.
        outcomes: the result of each board, or its error, by its name.
    """
    hours = {board.name: board.promote.approval_hours for board in boards}
    return {name: _ask(outcome, hours[name]) for name, outcome in outcomes.items()}


def _ask(outcome: Outcome, hours: float) -> Outcome:
    if not isinstance(outcome, ComparisonResult) or not outcome.awaiting:
        return outcome
    try:
        form = Answer.with_initial_data(description=escape_markdown(outcome.promotion), approve=True)
        answer = pause_flow_run(
            wait_for_input=form,
            timeout=round(hours * SECONDS_PER_HOUR),
            poll_interval=SECONDS_BETWEEN_CHECKS,
            key=name_key(outcome.awaiting),
        )
        approved, by = answer is not None and answer.approve, "hand"
    except FlowPauseTimeout:
        approved, by = False, f"anybody within {hours:g} hours"
    state = "new" if approved else "refused"
    return replace(outcome, promotion=approve(outcome.awaiting, approved=approved, by=by), awaiting="", state=state)
