"""What flows and tasks say to Prefect: the only package of `triptych` that imports it."""

from triptych.orchestration.automations import provide_automations
from triptych.orchestration.hooks import ENDS, enforce_restart_limit
from triptych.orchestration.options import LONG_STEP, STEP
from triptych.orchestration.progress import ProgressReporter, describe_flow_run, name_key
from triptych.orchestration.remote import send_away, wait_for_end
from triptych.orchestration.results import (
    SubmittedPanel,
    attempt,
    collect_panels,
    collect_results,
    require_all,
    require_panels,
)
from triptych.orchestration.runners import run_on, share_shards
from triptych.orchestration.steps import provide_board, train_in_run

__all__ = [
    "ENDS",
    "LONG_STEP",
    "STEP",
    "ProgressReporter",
    "SubmittedPanel",
    "attempt",
    "collect_panels",
    "collect_results",
    "describe_flow_run",
    "enforce_restart_limit",
    "name_key",
    "provide_automations",
    "provide_board",
    "require_all",
    "require_panels",
    "run_on",
    "send_away",
    "share_shards",
    "train_in_run",
    "wait_for_end",
]
