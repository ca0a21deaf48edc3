"""Train the panels of every board side by side, evaluate them on one split, and compare them in MLflow."""

from __future__ import annotations

from flows.panels import train_panels
from tasks.promote_champion import promote_champion
from tasks.record_comparison import record_comparison
from tasks.split_data import split_data
from triptych.config.resolve import Config
from triptych.config.schema import BoardConfig
from triptych.evaluation.report import ComparisonResult
from triptych.orchestration import (
    ask_for_approvals,
    attempt,
    describe_comparison,
    end_flow,
    enforce_restart_limit,
    require_approver,
    tracked_flow,
)
from triptych.system.threads import count_cores


@tracked_flow("compare {config.title}", max_workers=count_cores())
def compare(config: Config) -> list[ComparisonResult]:
    """Compare the panels of every board of a configuration.

    If a flow run is interrupted, the next one with the same configuration continues its comparisons. If a panel or a
    board fails, the others are still compared: the report says what is missing, and the flow run ends as failed.

    Args:
        config: the boards, usually those of a preset; any field can be changed.

    Raises:
        ConfigError: a promotion would wait for approval, but there is no page to approve it on.
        IncompleteError: a panel or a board is missing.
    """
    enforce_restart_limit()
    require_approver(config.boards)
    outcomes = {
        board.name: attempt(compare_board, board, fresh=config.fresh, tuned=config.tuned) for board in config.boards
    }
    outcomes = ask_for_approvals(config.boards, outcomes)
    paused = any(board.promote.approval for board in config.boards)
    results: list[ComparisonResult] = end_flow(outcomes, describe_comparison, paused=paused)
    return results


def compare_board(config: BoardConfig, *, fresh: bool, tuned: bool) -> ComparisonResult:
    """Compare the panels of one board, trained and evaluated on the same split."""
    comparison = split_data(config, tuned=tuned, fresh=fresh)
    panels, missing, embedded = train_panels(comparison)
    verdict = promote_champion(comparison, panels, missing)
    return record_comparison(comparison, panels, missing, embedded, verdict)
