"""Commands that are interrupted: every run that was open is closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest

from triptych.tracking.tags import read_tags

pytestmark = pytest.mark.endurance


def test_an_interrupt_closes_the_study_and_its_trials(prefect_server: None, tmp_path: Path) -> None:
    from prefect.settings import get_current_settings

    del prefect_server
    environment = {
        **os.environ,
        **get_current_settings().to_environment_variables(exclude_unset=True),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'interrupted.db'}",
    }
    command = [str(Path(sys.executable).with_name("triptych")), "tune", "numpy-mlp", "--trials", "2"]
    command += ["--set", "numpy_mlp.epochs=1000000"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])

    def find_runs() -> list[Any]:
        experiment = client.get_experiment_by_name("digits")
        return list(client.search_runs([experiment.experiment_id])) if experiment else []

    deadline = time.monotonic() + 120.0
    while not any("val_loss" in run.data.metrics for run in find_runs()):
        assert time.monotonic() < deadline, "no epoch was logged"
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "triptych: interrupted; open runs were closed" in printed
    assert {read_tags(run)["role"]: run.info.status for run in find_runs()} == {"study": "FAILED", "trial": "FAILED"}
