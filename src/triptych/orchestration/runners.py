"""Prefect's task runners: threads of this process, or a Dask cluster."""

from __future__ import annotations

from typing import Any, TypeVar

from prefect import Flow
from prefect.context import FlowRunContext
from prefect.task_runners import ThreadPoolTaskRunner

from triptych.config.runner import THREADS, find_address
from triptych.data.boards import PreparedBoard
from triptych.system.threads import count_cores
from triptych.transfer.records import count_shards

Result = TypeVar("Result")


def run_on(runner: str, flow: Flow[..., Result], *parameters: Any) -> Result:
    """Run a flow with the task runner that `--runner` names; `triptych.config.runner.check_runner` checks the name."""
    if runner == THREADS:
        return flow(*parameters)
    from prefect_dask.task_runners import DaskTaskRunner

    address = find_address(runner)
    # As many workers as cores, but at least two; Dask's dashboard is not visible to other machines.
    local = {"n_workers": max(2, count_cores()), "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    dask: Any = DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=local)
    return flow.with_options(task_runner=dask)(*parameters)


def share_shards(prepared: PreparedBoard) -> list[range]:
    """Return the shards of a board's embeddings that each task computes.

    In this process one task computes all shards, because several would compete for the same cores and images. On a
    cluster there is one task per shard, so that any worker can take the next one, and little is lost with a worker.
    """
    shards = count_shards(sum(prepared.sizes.values()))
    runner = FlowRunContext.get()
    if runner is None or isinstance(runner.task_runner, ThreadPoolTaskRunner):
        return [range(shards)]
    return [range(number, number + 1) for number in range(shards)]
