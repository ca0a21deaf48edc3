"""The labels of a comparison that are probably wrong, in its run."""

from __future__ import annotations

from triptych.evaluation.labels.judge import JudgedLabels
from triptych.tracking.client import connect
from triptych.tracking.metrics import MetricLog

SUSPECTS_FILE, SUSPECTED = "suspected_labels.json", "suspected_labels"


def log_suspects(run_id: str, judged: JudgedLabels) -> None:
    """Log how many labels are probably wrong, and the list if there are any.

    Args:
        run_id: of the comparison.
        judged: what was found.
    """
    MetricLog(run_id).log({SUSPECTED: float(len(judged.suspects))})
    if judged.suspects:
        connect().log_dict(run_id, judged.as_json(), SUSPECTS_FILE)
