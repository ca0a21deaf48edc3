"""Metrics of a run, logged once per step even if the run was interrupted and continued."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from mlflow.entities import Metric, Run

from triptych.errors import ConcurrentRunError
from triptych.tracking.client import connect
from triptych.training.epochs import EpochMetrics

# MLflow's own measurements of the machine.
SYSTEM_METRICS = "system/"
# MLflow takes at most 1000 metrics in one call.
METRICS_PER_CALL = 1000
# While a panel or a trial is trained.
SECONDS_BETWEEN_CALLS = 1.0


def read_metrics(run: Run) -> dict[str, float]:
    """Return the last value of every metric of a run, without the measurements of the machine."""
    return {name: value for name, value in run.data.metrics.items() if not name.startswith(SYSTEM_METRICS)}


class MetricLog:
    """Logs the metrics of a run, except those that the run has already.

    Each call is a transaction of the tracking store, which takes longer than a short epoch: metrics of epochs are
    logged together once a second. As a context manager, it logs the last ones at the end of the block.
    """

    def __init__(self, run_id: str) -> None:
        """Read which metrics the run has already; their steps are read when one of them is logged."""
        self._run_id = run_id
        self._unread = {*read_metrics(connect().get_run(run_id))}
        self._logged: set[tuple[str, int]] = set()
        self._waiting: list[Metric] = []
        self._sent = time.monotonic()

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(self, raised: type[BaseException] | None, *details: object) -> None:
        """Log what waits, also if the block raises, unless another machine has taken the run over."""
        if raised is None or not issubclass(raised, ConcurrentRunError):
            self._send()

    def log(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log some metrics at once.

        Args:
            values: the metrics by name.
            step: the epoch, from 1; 0 for metrics that belong to no epoch.
        """
        self._collect((name, value, step) for name, value in values.items())
        self._send()

    def log_epoch(self, metrics: EpochMetrics) -> None:
        """Log the metrics of one epoch, with the epoch as the step, within a second if further epochs follow."""
        self._collect((name, value, metrics.epoch) for name, value in metrics.values().items())
        if metrics.epoch == metrics.epochs or time.monotonic() - self._sent >= SECONDS_BETWEEN_CALLS:
            self._send()

    def log_series(self, name: str, values: Sequence[float]) -> None:
        """Log the values that a metric had after each epoch, the first epoch first."""
        self._collect((name, value, epoch) for epoch, value in enumerate(values, start=1))
        self._send()

    def _collect(self, points: Iterable[tuple[str, float, int]]) -> None:
        now = int(time.time() * 1000)
        new = [Metric(name, value, now, step) for name, value, step in points if not self._has(name, step)]
        self._waiting += new
        self._logged |= {(metric.key, metric.step) for metric in new}

    def _has(self, name: str, step: int) -> bool:
        """Return whether the run has a metric at a step."""
        if name in self._unread:
            self._unread.remove(name)
            self._logged |= {(name, point.step) for point in connect().get_metric_history(self._run_id, name)}
        return (name, step) in self._logged

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), METRICS_PER_CALL):
            connect().log_batch(self._run_id, metrics=waiting[start : start + METRICS_PER_CALL])
        self._sent = time.monotonic()
