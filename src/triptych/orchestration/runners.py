"""Where the tasks of a flow run, as Prefect is told."""

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
    """Run a flow with its tasks where `--runner` says: see `triptych.config.runner.check_runner`."""
    if runner == THREADS:
        return flow(*parameters)
    from prefect_dask.task_runners import DaskTaskRunner

    address = find_address(runner)
    # On this machine as many workers as cores, at least two; pages of Dask's own stay on this machine.
    local = {"n_workers": max(2, count_cores()), "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    dask: Any = DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=local)
    return flow.with_options(task_runner=dask)(*parameters)


def share_shards(prepared: PreparedBoard) -> list[range]:
    """Return which shards of a board's embeddings each task provides.

    In this process it is one task for all: several would only divide the same cores, and wait for each other's
    images. On a cluster it is one task for each shard, so that any worker can take the next one, and little is
    lost with a worker.
    """
    shards = count_shards(sum(prepared.sizes.values()))
    runner = FlowRunContext.get()
    if runner is None or isinstance(runner.task_runner, ThreadPoolTaskRunner):
        return [range(shards)]
    return [range(number, number + 1) for number in range(shards)]
