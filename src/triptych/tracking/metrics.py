"""Metrics of a run, logged once per step even if the run was interrupted and continued."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from mlflow.entities import Metric, Run

from triptych.tracking.client import connect
from triptych.training.epochs import EpochMetrics

# MLflow's own measurements of the machine.
SYSTEM_METRICS = "system/"
# MLflow takes at most 1000 metrics in one call.
METRICS_PER_CALL = 1000


def read_metrics(run: Run) -> dict[str, float]:
    """Return the last value of every metric of a run, without the measurements of the machine."""
    return {name: value for name, value in run.data.metrics.items() if not name.startswith(SYSTEM_METRICS)}


class MetricLog:
    """Logs the metrics of a run, except those that the run has already."""

    def __init__(self, run_id: str) -> None:
        """Read which metrics the run has already."""
        self._run_id = run_id
        client = connect()
        names = list(read_metrics(client.get_run(run_id)))
        self._logged = {(name, point.step) for name in names for point in client.get_metric_history(run_id, name)}

    def log(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log some metrics in one call.

        Args:
            values: the metrics by name.
            step: the epoch, from 1; 0 for metrics that belong to no epoch.
        """
        self._log((name, value, step) for name, value in values.items())

    def log_epoch(self, metrics: EpochMetrics) -> None:
        """Log the metrics of one epoch, with the epoch as the step."""
        self.log(metrics.values(), metrics.epoch)

    def log_series(self, name: str, values: Sequence[float]) -> None:
        """Log the values that a metric had after each epoch, the first epoch first."""
        self._log((name, value, epoch) for epoch, value in enumerate(values, start=1))

    def _log(self, points: Iterable[tuple[str, float, int]]) -> None:
        now = int(time.time() * 1000)
        new = [Metric(name, value, now, step) for name, value, step in points if (name, step) not in self._logged]
        for start in range(0, len(new), METRICS_PER_CALL):
            connect().log_batch(self._run_id, metrics=new[start : start + METRICS_PER_CALL])
        self._logged |= {(metric.key, metric.step) for metric in new}
