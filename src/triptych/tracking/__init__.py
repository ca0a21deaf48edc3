"""MLflow: the only package that imports it.

There is one experiment per board. A comparison is one run for each panel and repeat, and one run named `comparison`;
they share the tag `triptych.comparison`. Panel runs are not nested, because MLflow's page would hide their charts.
"""

from triptych.tracking.artifacts import (
    finish_comparison,
    load_evaluation,
    load_logged_curves,
    load_logged_model,
    load_logged_predictions,
    load_logged_reference,
    log_drifts,
    log_evaluation,
    log_fitted,
)
from triptych.tracking.client import connect, is_transient, list_artifacts
from triptych.tracking.leases import own_leases
from triptych.tracking.links import page_address
from triptych.tracking.metrics import MetricLog
from triptych.tracking.provenance import describe_board
from triptych.tracking.queries import fetch_report, find_panel_runs, find_recorded
from triptych.tracking.records import ComparisonRecord, PanelRun, RecordedRun, StudyRecord, TrainedPanel
from triptych.tracking.registry import (
    Verdict,
    approve,
    challenge,
    fetch_model,
    find_champion,
    find_version,
    load_version,
    model_uri,
    pin_weights,
    promote,
    register_panel,
    rollback,
)
from triptych.tracking.runs import (
    close_held_runs,
    close_run,
    close_runs,
    find_trained,
    note_trained,
    panel_run,
    resume_run,
    start_comparison,
)
from triptych.tracking.store import move_store
from triptych.tracking.studies import finish_study, start_study, trial_run

__all__ = [
    "ComparisonRecord",
    "MetricLog",
    "PanelRun",
    "RecordedRun",
    "StudyRecord",
    "TrainedPanel",
    "Verdict",
    "approve",
    "challenge",
    "close_held_runs",
    "close_run",
    "close_runs",
    "connect",
    "describe_board",
    "fetch_model",
    "fetch_report",
    "find_champion",
    "find_panel_runs",
    "find_recorded",
    "find_trained",
    "find_version",
    "finish_comparison",
    "finish_study",
    "is_transient",
    "list_artifacts",
    "load_evaluation",
    "load_logged_curves",
    "load_logged_model",
    "load_logged_predictions",
    "load_logged_reference",
    "load_version",
    "log_drifts",
    "log_evaluation",
    "log_fitted",
    "model_uri",
    "move_store",
    "note_trained",
    "own_leases",
    "page_address",
    "panel_run",
    "pin_weights",
    "promote",
    "register_panel",
    "resume_run",
    "rollback",
    "start_comparison",
    "start_study",
    "trial_run",
]
