"""Prefect's task runners: threads of this process, or a Dask cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from prefect import Flow
from prefect.context import FlowRunContext

from triptych.config.resolve import Config
from triptych.config.runner import THREADS, find_address
from triptych.data.boards import PreparedBoard
from triptych.orchestration.interrupts import is_on_cluster
from triptych.panels.kinds import EMBEDDING, find_kind
from triptych.system.threads import count_cores
from triptych.tracking.client import list_store_modules
from triptych.transfer.records import count_shards

if TYPE_CHECKING:
    from distributed import LocalCluster

# A task on a cluster takes a tenth of a second, and loads the networks: fewer shards are not worth it.
SHARDS_PER_TASK = 4
# More than one, so that fast workers compute more.
TASKS_PER_WORKER = 4

Result = TypeVar("Result")


def run_on(runner: str, flow: Flow[..., Result], config: Config, *parameters: Any) -> Result:
    """Run a flow with the task runner that `--runner` names; `triptych.config.runner.check_runner` checks the name.

    Args:
        runner: the name.
        flow: the flow.
        config: its first parameter.
        parameters: its other parameters.
    """
    if runner == THREADS:
        return flow(config, *parameters)
    from prefect_dask.task_runners import DaskTaskRunner

    if address := find_address(runner):
        dask: Any = DaskTaskRunner(address=address)
    else:
        start: Any = start_cluster  # Prefect's annotation leaves out the arguments that it passes
        local = {"modules": [flow.fn.__module__, *list_modules(config)], "workers": max(2, count_cores())}
        dask = DaskTaskRunner(cluster_class=start, cluster_kwargs=local)
    return flow.with_options(task_runner=dask)(config, *parameters)


def list_modules(config: Config) -> list[str]:
    """Return the modules that a worker needs and that take long to import, in the order of their import."""
    kinds = {find_kind(board, panel) for board in config.boards for panel in board.panels}
    embedding = [EMBEDDING] if any(board.backbone_panels for board in config.boards) else []
    panels = {name.partition(":")[0] for kind in kinds for name in (kind.trainer, kind.network)}
    # Each worker imports the main module of the command, and with it the command line.
    return ["prefect_dask", *list_store_modules(), *embedding, *sorted(panels), "triptych.cli", "triptych.fork_server"]


def start_cluster(modules: Sequence[str], workers: int) -> LocalCluster:
    """Start workers of one core each on this machine, with a temporary certificate that only this process has.

    On Linux they are forked from Python's fork server, which has imported what they need: to import it takes each of
    them longer than a small training. It has no threads of Python's, and Dask sets the threads of its numerical
    libraries to one before it starts. On macOS system libraries do not survive a fork: there each worker imports
    everything.

    Args:
        modules: names of modules that the fork server imports.
        workers: number of workers.
    """
    import dask
    from distributed import LocalCluster
    from distributed.utils import get_mp_context

    if sys.platform == "linux":
        # Not only in a `with` block: Dask replaces a worker that is lost.
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
        get_mp_context().set_forkserver_preload(list(modules))
    # The fork server keeps the environment that it was started with, perhaps by an earlier cluster of this process.
    environment = dict(os.environ)
    # Dask's dashboard is not visible to other machines.
    options: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "security": True, "env": environment}
    return LocalCluster(n_workers=workers, threads_per_worker=1, **options)


def share_shards(prepared: PreparedBoard) -> list[range]:
    """Return the shards of a board's embeddings that each task computes.

    In this process one task computes all shards, because several would compete for the same cores and images. On a
    cluster there are a few tasks for each worker. Every shard is stored when it is computed: no more than one is lost
    with a worker.
    """
    shards = count_shards(sum(prepared.sizes.values()))
    if not is_on_cluster():
        return [range(shards)]
    runner: Any = FlowRunContext.get().task_runner  # type: ignore[union-attr]
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
