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

# A task on a cluster takes a tenth of a second, and loads the networks: fewer shards are not worth it.
SHARDS_PER_TASK = 4
# More than one, so that fast workers compute more.
TASKS_PER_WORKER = 4

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
    cluster there are a few tasks for each worker. Every shard is stored when it is computed: no more than one is lost
    with a worker.
    """
    shards = count_shards(sum(prepared.sizes.values()))
    runner: Any = getattr(FlowRunContext.get(), "task_runner", None)
    if runner is None or isinstance(runner, ThreadPoolTaskRunner):
        return [range(shards)]
    # A cluster that adapts itself to its work may have no worker yet.
    return divide_shards(shards, max(1, sum(runner.client.nthreads().values())))


def divide_shards(shards: int, workers: int) -> list[range]:
    """Divide shards into equal ranges, one for each task on a cluster.

    >>> divide_shards(8, workers=2)
    [range(0, 4), range(4, 8)]
    >>> divide_shards(2, workers=4)
    [range(0, 1), range(1, 2)]
    """
    worthwhile = min(shards // SHARDS_PER_TASK, TASKS_PER_WORKER * workers)
    tasks = min(shards, max(workers, worthwhile))
    return [range(shards * task // tasks, shards * (task + 1) // tasks) for task in range(tasks)]
