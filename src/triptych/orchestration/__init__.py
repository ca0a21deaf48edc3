"""Prefect: the only package of `triptych` that imports it, for the flows and tasks."""

from triptych.orchestration.approvals import ask_for_approvals, require_approver
from triptych.orchestration.automations import provide_automations
from triptych.orchestration.hooks import enforce_restart_limit, tracked_flow
from triptych.orchestration.options import long_step, step
from triptych.orchestration.progress import describe_flow_run, name_key, reporting
from triptych.orchestration.remote import start_remote, wait_for_remote
from triptych.orchestration.results import (
    SubmittedPanel,
    attempt,
    collect_panels,
    collect_results,
    describe_comparison,
    describe_study,
    end_flow,
    require_panels,
)
from triptych.orchestration.runners import run_on, share_shards
from triptych.orchestration.steps import provide_board, train_in_run
from triptych.orchestration.work_pools import provide_work_pool

__all__ = [
    "SubmittedPanel",
    "ask_for_approvals",
    "attempt",
    "collect_panels",
    "collect_results",
    "describe_comparison",
    "describe_flow_run",
    "describe_study",
    "end_flow",
    "enforce_restart_limit",
    "long_step",
    "name_key",
    "provide_automations",
    "provide_board",
    "provide_work_pool",
    "reporting",
    "require_approver",
    "require_panels",
    "run_on",
    "share_shards",
    "start_remote",
    "step",
    "tracked_flow",
    "train_in_run",
    "wait_for_remote",
]
