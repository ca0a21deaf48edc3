"""Train the panels of every board side by side, evaluate them on one split, and compare them in MLflow."""

from __future__ import annotations

from prefect import Task, flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.embedding import submit_embedding
from tasks.evaluate import evaluate
from tasks.promote_champion import promote_champion
from tasks.record_comparison import record_comparison
from tasks.split_data import split_data
from tasks.train_numpy_mlp import train_numpy_mlp
from tasks.train_torch_mlp import train_torch_mlp
from tasks.train_transfer import train_transfer
from triptych.config import Config
from triptych.orchestration import close_open_runs, collect_panels, require_all_panels, tell_end
from triptych.panel_jobs import list_jobs
from triptych.report import ComparisonResult
from triptych.sections import BoardConfig
from triptych.threads import count_cores
from triptych.tracking import TrainedPanel

TRAINERS: dict[str, Task[..., TrainedPanel]] = {
    "numpy_mlp": train_numpy_mlp,
    "torch_mlp": train_torch_mlp,
    "transfer": train_transfer,
}


@flow(
    name="compare",
    flow_run_name="compare {config.preset}",
    task_runner=ThreadPoolTaskRunner(max_workers=count_cores()),
    on_completion=[tell_end],
    on_failure=[close_open_runs, tell_end],
    on_crashed=[close_open_runs, tell_end],
    on_cancellation=[close_open_runs, tell_end],
)
def compare(config: Config) -> list[ComparisonResult]:
    """Compare the panels of every board of a configuration.

    The same call takes up what was cut off. A panel that fails doesn't stop the others: they are compared, the report
    says what is missing, and the flow run ends as failed.

    Args:
        config: a preset, or its boards with any field changed.

    Raises:
        IncompleteComparisonError: a panel is missing.
    """
    results = [compare_board(board, fresh=config.fresh, tuned=config.tuned) for board in config.boards]
    return require_all_panels(results)


def compare_board(board: BoardConfig, *, fresh: bool, tuned: bool) -> ComparisonResult:
    """Compare the panels of one board: one split, every frozen network embedded once, every repeat trained."""
    comparison = split_data(board, tuned=tuned, fresh=fresh)
    embedded = submit_embedding(comparison)
    jobs = list_jobs(comparison.board, fresh=fresh)
    trained = [TRAINERS[job.kind].submit(comparison, job, embedded.needed_by(job.panel)) for job in jobs]
    evaluated = [evaluate.submit(panel) for panel in trained]
    before = [embedded.steps_of(job.panel) for job in jobs]
    panels, missing = collect_panels(jobs, before, trained, evaluated)
    return record_comparison(comparison, panels, missing, promote_champion(comparison, panels))
