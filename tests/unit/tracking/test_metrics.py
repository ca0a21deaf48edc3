from __future__ import annotations

import pytest
from mlflow import MlflowClient

from triptych.errors import ConcurrentRunError, DivergenceError
from triptych.tracking import metrics
from triptych.tracking.metrics import MetricLog, read_metrics
from triptych.training.epochs import EpochMetrics


def test_a_continued_run_has_each_step_once(own_store: str) -> None:
    client = MlflowClient(own_store)
    run_id = client.create_run("0").info.run_id
    for epochs in (2, 4):  # the second log belongs to a process that restores the first two epochs
        log = MetricLog(run_id)
        for epoch in range(1, epochs + 1):
            log.log_epoch(EpochMetrics(epoch, 4, 1.0 / epoch, 0.5, 0.1))
        log.log_series("drift", [0.1] * epochs)
        log.log({"test_accuracy": 0.9})
    for name, steps in {"train_loss": [1, 2, 3, 4], "drift": [1, 2, 3, 4], "test_accuracy": [0]}.items():
        assert [point.step for point in client.get_metric_history(run_id, name)] == steps


def test_more_metrics_than_mlflow_takes_in_one_call(own_store: str) -> None:
    client = MlflowClient(own_store)
    run_id = client.create_run("0").info.run_id
    MetricLog(run_id).log_series("loss", [1.0] * 1001)
    assert read_metrics(client.get_run(run_id)) == {"loss": 1.0}


def test_measurements_of_the_machine_are_left_out(own_store: str) -> None:
    client = MlflowClient(own_store)
    run_id = client.create_run("0").info.run_id
    client.log_metric(run_id, "system/cpu_utilization_percentage", 50.0)
    assert read_metrics(client.get_run(run_id)) == {}


@pytest.mark.parametrize(("error", "logged"), [(DivergenceError, [1, 2]), (ConcurrentRunError, [])])
def test_epochs_that_wait_are_logged_with_an_error_but_not_to_a_run_of_another_machine(
    own_store: str, monkeypatch: pytest.MonkeyPatch, error: type[Exception], logged: list[int]
) -> None:
    monkeypatch.setattr(metrics, "SECONDS_BETWEEN_CALLS", float("inf"))
    client = MlflowClient(own_store)
    run_id = client.create_run("0").info.run_id
    log = MetricLog(run_id)
    for epoch in (1, 2):
        log.log_epoch(EpochMetrics(epoch, 4, 1.0 / epoch, 0.5, 0.1))
    assert read_metrics(client.get_run(run_id)) == {}
    with pytest.raises(error), log:
        raise error
    assert [point.step for point in client.get_metric_history(run_id, "train_loss")] == logged
