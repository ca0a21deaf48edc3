from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from distributed import Client, Future, LocalCluster

from triptych.errors import RunInterruptedError
from triptych.orchestration.interrupts import Interrupts


def test_only_the_threads_of_an_interrupted_flow_run_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(futures: object) -> None:
        del futures
        raise KeyboardInterrupt

    interrupts = Interrupts()
    interrupts.wait([])
    interrupts.check("one", "after 1 of 3")
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", "one")
    monkeypatch.setattr("triptych.orchestration.interrupts.wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        interrupts.wait([])
    interrupts.check("another", "after 2 of 3")
    with pytest.raises(RunInterruptedError, match="interrupted after 2 of 3"):
        interrupts.check("one", "after 2 of 3")


WORKING, STOPPED = threading.Event(), threading.Event()


def work_until_stopped() -> None:
    try:
        while True:
            Interrupts().check("one", "after 1 of 3")
            WORKING.set()
            time.sleep(0.01)
    except RunInterruptedError:
        STOPPED.set()


@pytest.mark.parametrize(
    "end",
    [lambda cluster, future: future.cancel(), lambda cluster, future: cluster.scale(0)],
    ids=["the task is cancelled", "the worker closes"],
)
def test_a_task_stops_that_dask_cannot_stop(end: Callable[[LocalCluster, Future[Any]], None]) -> None:
    WORKING.clear()
    STOPPED.clear()
    options: Any = {"processes": False, "dashboard_address": None, "n_workers": 1, "threads_per_worker": 1}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        future = client.submit(work_until_stopped)
        assert WORKING.wait(10)
        end(cluster, future)
        assert STOPPED.wait(10)
