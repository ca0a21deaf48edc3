"""Look for better settings of a panel: a study of trials on the validation part, in MLflow one nested run each."""

from __future__ import annotations

from flows.embedding import submit_embedding
from tasks.tune_panel import record_study, run_trials, start_tuning
from triptych.config.fields import PositiveInt
from triptych.config.resolve import Config
from triptych.config.schema import BoardConfig
from triptych.orchestration import (
    attempt,
    collect_results,
    enforce_restart_limit,
    require_all,
    tracked_flow,
)
from triptych.system.threads import count_cores
from triptych.tuning.results import TuningResult


@tracked_flow("tune {config.preset}")
def tune(config: Config, trials: PositiveInt = 20, workers: PositiveInt | None = None) -> list[TuningResult]:
    """Tune every panel of every board of a configuration, each in a study of its own.

    Args:
        config: a preset, or its boards with any field changed.
        trials: how many trials each study is to have, with those that it has already.
        workers: how many trials run side by side; left out, one on each core.

    Raises:
        IncompleteError: a study failed, and others didn't.
    """
    enforce_restart_limit()
    workers = workers or count_cores()
    return require_all(
        {
            f"{panel} on {board.name}": attempt(
                tune_panel, board, panel, trials=trials, workers=workers, preset=config.preset
            )
            for board in config.boards
            for panel in board.panels
        }
    )


def tune_panel(config: BoardConfig, panel: str, *, trials: int, workers: int, preset: str) -> TuningResult:
    """Tune one panel: one split, its frozen network embedded once, trials side by side until there are enough."""
    study = start_tuning(config.model_copy(update={"panels": (panel,)}), panel, trials, workers)
    embedded = submit_embedding(study)
    shares = [run_trials.submit(study, worker, embedded.needed_by(panel)) for worker in range(len(study.shares))]
    collect_results(shares, after=embedded.steps)
    return record_study(study, preset)
