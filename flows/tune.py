"""Search for better settings of a panel: a study of trials on the validation set, each a nested run in MLflow."""

from __future__ import annotations

from flows.embedding import submit_embedding
from tasks.tune_panel import record_study, run_trials, start_tuning
from triptych.config.fields import PositiveInt
from triptych.config.resolve import Config
from triptych.config.schema import BoardConfig
from triptych.orchestration import (
    attempt,
    collect_results,
    describe_study,
    end_flow,
    enforce_restart_limit,
    tracked_flow,
)
from triptych.system.threads import count_cores
from triptych.tuning.results import TuningResult


@tracked_flow("tune {config.panel_names} on {config.title}")
def tune(config: Config, trials: PositiveInt = 20, workers: PositiveInt | None = None) -> list[TuningResult]:
    """Tune every panel of every board of a configuration, one study per panel.

    Args:
        config: the boards, usually those of a preset; any field can be changed.
        trials: number of trials of each study, including those of earlier flow runs.
        workers: number of trials that run side by side; default: one per core.

    Raises:
        IncompleteError: some of the studies failed.
    """
    enforce_restart_limit()
    workers = workers or count_cores()
    outcomes = {
        f"{panel} on {board.name}": attempt(
            tune_panel, board, panel, trials=trials, workers=workers, preset=config.preset
        )
        for board in config.boards
        for panel in board.panels
    }
    results: list[TuningResult] = end_flow(outcomes, describe_study)
    return results


def tune_panel(config: BoardConfig, panel: str, *, trials: int, workers: int, preset: str) -> TuningResult:
    """Tune one panel: open its study, embed the images once, and run the trials side by side."""
    study = start_tuning(config, panel, trials, workers)
    embedded = submit_embedding(study)
    shares = [run_trials.submit(study, worker, embedded.needed_by(panel)) for worker in range(len(study.shares))]
    collect_results(shares, after=embedded.steps)
    return record_study(study, preset)
