from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.task_runners import ThreadPoolTaskRunner

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData
from triptych.orchestration.interrupts import is_on_cluster
from triptych.orchestration.runners import divide_shards, list_modules, run_on, share_shards


class Cluster:
    """Stands for Prefect's task runner on a cluster, with two workers of one core each."""

    client = SimpleNamespace(nthreads=lambda: {"tcp://10.0.0.7:1": 1, "tcp://10.0.0.7:2": 1})


class Flow:
    """Stands for a flow: notes the task runner that it is given, and its parameters."""

    fn = resolve_config
    runner: Any = None

    def with_options(self, *, task_runner: Any) -> Flow:
        self.runner = task_runner
        return self

    def __call__(self, *parameters: Any) -> tuple[Any, ...]:
        return parameters


CONFIG = resolve_config("digits", panels=["numpy-mlp"])


def test_threads_are_the_flows_own_runner() -> None:
    flow: Any = Flow()
    assert run_on("threads", flow, CONFIG, 2) == (CONFIG, 2)
    assert flow.runner is None


def test_a_cluster_is_reached_by_its_address_or_started() -> None:
    flow: Any = Flow()
    assert run_on("dask:tcp://10.0.0.7:8786", flow, CONFIG, 3) == (CONFIG, 3)
    assert flow.runner.address == "tcp://10.0.0.7:8786"
    run_on("dask", flow, CONFIG)
    assert flow.runner.address is None
    assert flow.runner.cluster_kwargs["workers"] >= 2
    assert "triptych.config.resolve" in flow.runner.cluster_kwargs["modules"]


def test_workers_import_what_their_panels_need() -> None:
    modules = list_modules(CONFIG)
    assert "triptych.networks.numpy_mlp" in modules
    assert not {"triptych.networks.torch_mlp", "triptych.transfer.plan"} & set(modules)
    assert modules[-1] == "triptych.fork_server"
    for name in list_modules(resolve_config("digits", panels=["shufflenet_v2_x0_5"])):
        assert find_spec(name)


@pytest.mark.parametrize(
    ("runner", "shares"),
    [(None, [range(3)]), (ThreadPoolTaskRunner(), [range(3)]), (Cluster(), [range(1), range(1, 3)])],
    ids=["no flow", "threads", "a cluster"],
)
def test_only_on_a_cluster_there_is_more_than_one_task(
    runner: Any, shares: list[range], digits: BoardData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triptych.data.shards.files.IMAGES_PER_SHARD", 4)
    context = None if runner is None else SimpleNamespace(task_runner=runner)
    monkeypatch.setattr("triptych.orchestration.runners.FlowRunContext.get", lambda: context)
    assert share_shards(replace(digits.prepared, sizes={"train": 6, "validation": 2, "test": 3})) == shares
    assert is_on_cluster() is isinstance(runner, Cluster)


@pytest.mark.parametrize(
    ("shards", "workers", "tasks"),
    [(8, 1, 2), (8, 2, 2), (8, 4, 4), (3, 4, 3), (79, 2, 8), (16, 2, 4), (0, 2, 0)],
    ids=[
        "one worker",
        "two",
        "a task for each worker",
        "few shards",
        "four tasks for each",
        "four shards for each",
        "none",
    ],
)
def test_tasks_are_large_enough_and_occupy_all_workers(shards: int, workers: int, tasks: int) -> None:
    ranges = divide_shards(shards, workers)
    assert len(ranges) == tasks
    assert [shard for part in ranges for shard in part] == list(range(shards))
